// Does inference cut pairs as training does, with no more than the longest pair known?
#include "launch/inference/scorer.h"

#include <gtest/gtest.h>

namespace lodestone {
namespace {

/// Tokens kept of query and passage.
std::pair<int64_t, int64_t> kept(int64_t query, int64_t passage, const PairLengths& lengths) {
  const std::vector<int32_t> a(static_cast<size_t>(query), 7), b(static_cast<size_t>(passage), 8);
  std::vector<int32_t> ids;
  const int64_t second = append_pair(1, 2, a, b, lengths, ids);
  return {second - 2, std::ssize(ids) - second - 1};
}

TEST(InferenceLengths, PairsThatFitStayWhole) {
  for (const auto& [query, passage] : {std::pair<int64_t, int64_t>{5, 504}, {255, 254}, {384, 125}, {0, 509}})
    EXPECT_EQ(kept(query, passage, inference_lengths(512)), std::pair(query, passage));
  EXPECT_EQ(kept(400, 20, inference_lengths(512)), (std::pair<int64_t, int64_t>(384, 20))) << "three quarters for the query";
  EXPECT_EQ(kept(30, 600, inference_lengths(512)), (std::pair<int64_t, int64_t>(30, 479)));
}

TEST(InferenceLengths, CutAsTrainingDoesWhereNeitherTextMeetsItsOwnLimit) {
  for (const PairLengths& trained : {PairLengths{.query = 64, .passage = 448}, PairLengths{.query = 256, .passage = 256},
                                     PairLengths{.query = 200, .passage = 500, .pair = 512}})
    for (int64_t query = 1; query <= std::min<int64_t>(trained.longest_query(), 384); query += 3)
      for (int64_t passage = 1; passage <= trained.longest_passage(); passage += 7)
        EXPECT_EQ(kept(query, passage, inference_lengths(512)), kept(query, passage, trained)) << query << ", " << passage;
}

}  // namespace
}  // namespace lodestone
