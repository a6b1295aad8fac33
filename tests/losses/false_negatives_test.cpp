// Which passages are false negatives, found by hash exactly where the rule says so, and counted.
#include "losses/false_negatives.h"

#include <gtest/gtest.h>

#include "losses/info_nce.h"
#include "losses/matryoshka.h"
#include "tests/support/loss_problem.h"

namespace lodestone::test {
namespace {

/// Two queries of group 2; every hash differs.
struct Hashes {
  std::vector<uint64_t> query{1, 2}, passage{3, 4, 5, 6}, document{13, 14, 15, 16};
  bool masked(int64_t of, int64_t passage_index) const {
    return is_false_negative({query, passage, document}, 2, of, passage_index);
  }
  /// Passages masked for query 0, then for query 1.
  std::vector<int64_t> all() const {
    std::vector<int64_t> found;
    for (int64_t q = 0; q < 2; ++q)
      for (int64_t p = 0; p < 4; ++p)
        if (masked(q, p)) found.push_back(4 * q + p);
    return found;
  }
};

TEST(FalseNegatives, RuleByCases) {
  using Found = std::vector<int64_t>;
  EXPECT_EQ(Hashes{}.all(), Found{});
  EXPECT_EQ((Hashes{.passage = {3, 4, 3, 6}}.all()), (Found{2, 4}));       // both positives have the same text
  EXPECT_EQ((Hashes{.passage = {3, 4, 5, 3}}.all()), (Found{3}));          // the other's negative has my positive's text
  EXPECT_EQ((Hashes{.passage = {3, 3, 5, 6}}.all()), (Found{1}));          // my own negative has my positive's text
  EXPECT_EQ((Hashes{.passage = {3, 4, 5, 1}}.all()), (Found{3}));          // the other's negative is my query
  EXPECT_EQ((Hashes{.passage = {3, 4, 1, 6}}.all()), (Found{2}));          // the other's positive is my query
  EXPECT_EQ((Hashes{.document = {13, 14, 13, 16}}.all()), (Found{2, 4}));  // both positives are of one document
  EXPECT_EQ((Hashes{.document = {13, 14, 15, 13}}.all()), (Found{3}));     // the other's negative is of my positive's document
  EXPECT_EQ((Hashes{.document = {13, 13, 15, 16}}.all()), (Found{}));      // my own negative is of it: the record says negative
  EXPECT_EQ((Hashes{.query = {1, 1}}.all()), (Found{2, 4}));               // one query with two positives
  EXPECT_EQ((Hashes{.passage = {1, 4, 5, 6}}.all()), (Found{}));           // a positive that repeats its query stays
}

TEST(FalseNegatives, IndexMasksExactlyWhatTheRuleSays) {
  for (const int64_t group : {1, 3}) {
    for (uint32_t seed = 0; seed < 5; ++seed) {
      LossProblem problem(40, group, 1);
      problem.plant_duplicates(seed);
      const TextHashes texts{problem.query_hash, problem.passage_hash, problem.passage_document};
      const auto backend = make_backend({.kind = "reference"});
      Arena arena(size_t{1} << 24);
      Exec ex{*backend, arena, Key{}, DType::f64};
      const FalseNegatives index(ex, texts, group);
      const int64_t first = 11, rows = 20, m = 40 * group;
      std::vector<double> forward(static_cast<size_t>(rows * m)), reverse(static_cast<size_t>(rows * 40));
      const int64_t in_forward = index.mask_passages(first, view(std::span(forward)).reshape({rows, m})),
                    in_reverse = index.mask_queries(first, view(std::span(reverse)).reshape({rows, 40}));
      int64_t expected_forward = 0, expected_reverse = 0;
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < m; ++j) {
          const bool masked = is_false_negative(texts, group, first + i, j);
          ASSERT_EQ(std::isinf(forward[static_cast<size_t>(i * m + j)]), masked) << "query " << first + i << ", passage " << j;
          expected_forward += masked;
        }
        for (int64_t j = 0; j < 40; ++j) {
          const bool masked = j != first + i && is_false_negative(texts, group, j, (first + i) * group);
          ASSERT_EQ(std::isinf(reverse[static_cast<size_t>(i * 40 + j)]), masked) << "positive " << first + i << ", query " << j;
          expected_reverse += masked;
        }
      }
      EXPECT_GT(expected_forward, 0);
      EXPECT_EQ(in_forward, expected_forward);
      EXPECT_EQ(in_reverse, expected_reverse);
    }
  }
}

TEST(FalseNegatives, AreCountedOnceWhateverTheNumberOfPrefixes) {
  LossProblem problem(2, 2, 4);
  problem.passage_hash[2] = problem.passage_hash[0];  // each positive is the other query's false negative
  const InfoNceOptions options{.temperature = 0.1, .duplicates = Duplicates::masked};
  InfoNce plain(options);
  EXPECT_EQ(answer_alone(plain, problem).masked, 2);
  Matryoshka prefixes(std::make_unique<InfoNce>(options), {2, 3, 4});
  EXPECT_EQ(answer_alone(prefixes, problem).masked, 2);
  InfoNce kept({.temperature = 0.1});
  EXPECT_EQ(answer_alone(kept, problem).masked, 0);
}

TEST(FalseNegatives, BatchOfOneTextIsAllPositivesAndHasNoLoss) {
  LossProblem problem(5, 1, 4);
  std::fill(problem.passage_hash.begin(), problem.passage_hash.end(), uint64_t{9});
  InfoNce loss({.temperature = 0.1, .direction = Direction::both, .duplicates = Duplicates::masked});
  const LossAnswer got = answer_alone(loss, problem);
  EXPECT_NEAR(got.loss, 0, 1e-15);
  EXPECT_EQ(got.masked, 2 * 5 * 4);
  for (const double d : got.d_queries) EXPECT_NEAR(d, 0, 1e-16);
}

}  // namespace
}  // namespace lodestone::test
