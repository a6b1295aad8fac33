// Ranking metrics and correlations: cases worked by hand, and recorded values of trec_eval and scipy.
#include "losses/metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/support/golden_file.h"

namespace lodestone::test {
namespace {

using std::vector;

TEST(Metrics, NdcgOfAHandWorkedGradedRanking) {
  const vector<double> ranked{0, 3, 1}, judged{1, 3, 2};
  const double ideal = 3 + 2 / std::log2(3.0) + 1 / 2.0, got = 3 / std::log2(3.0) + 1 / 2.0;
  EXPECT_NEAR(ndcg_at({ranked, judged}, 10), got / ideal, 1e-15);
  EXPECT_NEAR(ndcg_at({ranked, judged}, 2), (3 / std::log2(3.0)) / (3 + 2 / std::log2(3.0)), 1e-15);
}

TEST(Metrics, NdcgAtThreeAndFiveOfHandWorkedBinaryRankings) {
  // Four relevant documents: the ideal has as many as the cut allows, min(4, k).
  const vector<double> ranked{0, 1, 0, 1, 1}, judged{1, 1, 1, 1, 0};
  const double third = 1 / std::log2(3.0), fifth = 1 / std::log2(5.0), sixth = 1 / std::log2(6.0);
  EXPECT_NEAR(ndcg_at({ranked, judged}, 3), third / (1 + third + 0.5), 1e-15);
  EXPECT_NEAR(ndcg_at({ranked, judged}, 5), (third + fifth + sixth) / (1 + third + 0.5 + fifth), 1e-15);
}

TEST(Metrics, ReciprocalRankCountsTheFirstRelevantDocumentWithinTheCut) {
  const vector<double> ranked{0, 0, 1, 1}, judged{1, 1};
  EXPECT_NEAR(reciprocal_rank_at({ranked, judged}, 10), 1.0 / 3, 1e-15);
  EXPECT_EQ(reciprocal_rank_at({ranked, judged}, 2), 0);
}

TEST(Metrics, RecallAndAveragePrecisionDivideByAllRelevantDocuments) {
  const vector<double> ranked{1, 0, 1}, judged{1, 1, 1, 1, 0};
  EXPECT_EQ(recall_at({ranked, judged}, 10), 0.5);
  EXPECT_EQ(recall_at({ranked, judged}, 1), 0.25);
  EXPECT_NEAR(average_precision_at({ranked, judged}, 10), (1 + 2.0 / 3) / 4, 1e-15);
}

TEST(Metrics, AQueryWithoutRelevantDocumentsGivesZero) {
  const vector<double> ranked{0, 0}, judged{0};
  EXPECT_EQ(ndcg_at({ranked, judged}, 10), 0);
  EXPECT_EQ(recall_at({ranked, judged}, 10), 0);
  EXPECT_EQ(average_precision_at({ranked, judged}, 10), 0);
  EXPECT_EQ(ndcg_at({{}, judged}, 10), 0);
}

TEST(Metrics, EqualScoresAreOrderedByLaterDocumentId) {
  EXPECT_TRUE(ranks_before({"b", 1}, {"a", 1}));
  EXPECT_FALSE(ranks_before({"a", 1}, {"b", 1}));
  EXPECT_TRUE(ranks_before({"a", 2}, {"b", 1}));
  EXPECT_TRUE(ranks_before({"d9", 1}, {"d10", 1}));  // as text, not as numbers
}

TEST(Metrics, EqualValuesShareTheAverageOfTheirRanks) {
  const vector<double> x{10, 20, 20, 5};
  EXPECT_EQ(average_ranks(x), (vector<double>{2, 3.5, 3.5, 1}));
}

TEST(Metrics, SpearmanIsOneForAnyIncreasingFunction) {
  const vector<double> x{1, 2, 3, 4, 5}, y{1, 8, 27, 64, 125}, down{5, 4, 3, 2, 1};
  EXPECT_NEAR(spearman(x, y), 1, 1e-15);
  EXPECT_NEAR(spearman(x, down), -1, 1e-15);
  EXPECT_LT(pearson(x, y), 0.95);
}

TEST(Metrics, CorrelationWithAConstantIsNotANumber) {
  const vector<double> x{1, 2, 3}, constant{4, 4, 4};
  EXPECT_TRUE(std::isnan(spearman(x, constant)));
}

nlohmann::json golden() {
  std::ifstream file(golden_file("metrics.json"));
  return nlohmann::json::parse(file);
}

TEST(MetricsGolden, RankingsAgreeWithTrecEval) {
  const nlohmann::json file = golden();
  ASSERT_FALSE(file.at("queries").empty());
  for (const auto& query : file.at("queries")) {
    const auto run = query.at("run").get<std::map<std::string, float>>();
    const auto qrels = query.at("qrels").get<std::map<std::string, double>>();
    vector<Hit> hits;
    hits.reserve(run.size());
    for (const auto& [document, score] : run) hits.push_back({document, score});
    std::sort(hits.begin(), hits.end(), ranks_before);
    vector<double> ranked, judged;
    for (const Hit& hit : hits) {
      const auto found = qrels.find(std::string(hit.document));
      ranked.push_back(found == qrels.end() ? 0 : found->second);
    }
    for (const auto& [document, gain] : qrels) judged.push_back(gain);
    const RankedGains gains{ranked, judged};
    const auto& expected = query.at("expected");
    for (const int64_t k : {1, 3, 10}) EXPECT_NEAR(ndcg_at(gains, k), expected.at("ndcg_cut_" + std::to_string(k)), 1e-12) << k;
    for (const int64_t k : {1, 10, 100}) EXPECT_NEAR(recall_at(gains, k), expected.at("recall_" + std::to_string(k)), 1e-12) << k;
    for (const int64_t k : {10, 100}) EXPECT_NEAR(average_precision_at(gains, k), expected.at("map_cut_" + std::to_string(k)), 1e-12) << k;
    EXPECT_NEAR(reciprocal_rank_at(gains, 10), expected.at("recip_rank_10"), 1e-12);
  }
}

TEST(MetricsGolden, CorrelationsAgreeWithScipy) {
  const auto expected = golden().at("correlation");
  const auto x = expected.at("x").get<vector<double>>(), y = expected.at("y").get<vector<double>>();
  EXPECT_EQ(average_ranks(x), expected.at("ranks").get<vector<double>>());
  EXPECT_NEAR(spearman(x, y), expected.at("spearman"), 1e-12);
  EXPECT_NEAR(pearson(x, y), expected.at("pearson"), 1e-12);
}

}  // namespace
}  // namespace lodestone::test
