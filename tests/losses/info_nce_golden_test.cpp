// The pure InfoNCE function: golden values, and its gradient by central differences.
#include <gtest/gtest.h>

#include "losses/info_nce.h"
#include "tests/losses/golden_pairs.h"
#include "tests/support/gradcheck.h"

namespace lodestone::test {
namespace {

InfoNceInput golden_input(double temperature) {
  return {.queries = golden_queries, .passages = golden_passages, .embedding = 3, .dimensions = 3, .group = 2, .temperature = temperature};
}

double value(const InfoNceInput& in) {
  std::vector<double> dq(in.queries.size()), dp(in.passages.size());
  return info_nce(in, dq, dp);
}

TEST(InfoNceGolden, InBatchValues) {
  EXPECT_NEAR(value(golden_input(0.5)), 0.8441107080, 5e-11);
  EXPECT_NEAR(value(golden_input(0.05)), 0.0625591836, 5e-11);
  EXPECT_NEAR(value(golden_input(0.02)), 0.0019441498, 5e-11);
}

TEST(InfoNceGolden, GroupOnlyValues) {
  InfoNceInput in = golden_input(0.5);
  in.candidates = Candidates::own_group;
  EXPECT_NEAR(value(in), 0.1838929800, 5e-11);
  in.temperature = 0.05;
  EXPECT_NEAR(value(in), 7.47262552e-06, 5e-15);
}

TEST(InfoNceGolden, SymmetricValuesAverageBothDirections) {
  InfoNceInput in = golden_input(0.5);
  in.direction = Direction::both;
  EXPECT_NEAR(value(in), (0.8441107080 + 0.3721781611) / 2, 5e-11);
  in.temperature = 0.05;
  EXPECT_NEAR(value(in), (0.0625591836 + 0.0514443516) / 2, 5e-11);
}

TEST(InfoNceGolden, PassagesOfThePositivesDocumentAreNoCandidates) {
  const std::vector<uint64_t> query{1, 2}, passage{3, 4, 5, 6}, document{7, 8, 7, 9};  // both positives are of document 7
  InfoNceInput in = golden_input(0.5);
  in.hashes = {query, passage, document};
  EXPECT_NEAR(value(in), 0.6125807605, 5e-11);
  in.direction = Direction::both;  // each positive is left with its own query
  EXPECT_NEAR(value(in), 0.6125807605 / 2, 5e-11);
}

// Equation 3 of GTE's paper, its baseline: queries to passages, one passage each.
TEST(InfoNceGolden, VanillaBaselineOfPairs) {
  const std::vector<double> positives{2, 1, 2, 2, -2, 1};
  InfoNceInput in = golden_input(0.5);
  in.passages = positives;
  in.group = 1;
  EXPECT_NEAR(value(in), 0.3721781611, 5e-11);
  in.temperature = 0.05;
  EXPECT_NEAR(value(in), 0.0514443516, 5e-11);
}

TEST(InfoNceGolden, GradientsOfRawVectors) {
  std::vector<double> dq(6), dp(12);
  info_nce(golden_input(0.5), dq, dp);
  const std::vector<double> d_q1{-0.02480276, 0.07257194, -0.06017056}, d_p2_negative{0.12277823, 0, 0.22267919};
  for (size_t e = 0; e < 3; ++e) {
    EXPECT_NEAR(dq[e], d_q1[e], 5e-9);
    EXPECT_NEAR(dp[9 + e], d_p2_negative[e], 5e-9);
  }
}

TEST(InfoNceGolden, AverageOverPrefixesIsTheMatryoshkaValue) {
  InfoNceInput in = golden_input(0.5);
  in.dimensions = 2;
  const double at_two = value(in);
  EXPECT_NEAR(at_two, 0.9657494346, 5e-11);
  EXPECT_NEAR((at_two + value(golden_input(0.5))) / 2, 0.9049300713, 5e-11);
}

TEST(InfoNceGolden, ComponentsBeyondThePrefixGetNoGradient) {
  InfoNceInput in = golden_input(0.5);
  in.dimensions = 2;
  std::vector<double> dq(6, 1.0), dp(12, 1.0);
  info_nce(in, dq, dp);
  for (size_t i = 0; i < 2; ++i) EXPECT_EQ(dq[3 * i + 2], 0);
  for (size_t j = 0; j < 4; ++j) EXPECT_EQ(dp[3 * j + 2], 0);
}

TEST(InfoNceGolden, GradientAgreesWithCentralDifferences) {
  const std::vector<uint64_t> query{1, 2}, passage{3, 4, 5, 3}, document{7, 8, 9, 9};
  for (const Candidates candidates : {Candidates::all_ranks, Candidates::own_group}) {
    for (const Direction direction : {Direction::query_to_passage, Direction::both}) {
      for (const TextHashes& hashes : {TextHashes{}, TextHashes{query, passage, document}}) {
        std::vector<double> q(golden_queries.begin(), golden_queries.end()), p(golden_passages.begin(), golden_passages.end());
        InfoNceInput in = golden_input(0.2);
        in.queries = q;
        in.passages = p;
        in.candidates = candidates;
        in.direction = direction;
        in.hashes = hashes;
        std::vector<double> dq(6), dp(12);
        info_nce(in, dq, dp);
        expect_gradient("queries", q, dq, [&] { return value(in); });
        expect_gradient("passages", p, dp, [&] { return value(in); });
      }
    }
  }
}

}  // namespace
}  // namespace lodestone::test
