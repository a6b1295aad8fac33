// Reranking scores with tiny random models: the same for any number of ranks, and what the definitions say.
#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "launch/inference/reranking.h"
#include "tests/support/model_files.h"
#include "tests/support/mpi_world.h"
#include "tests/support/tiny_reranker_folder.h"

namespace lodestone::test {
namespace {

CandidateSet toy_lists() {
  const char* const words[] = {"red", "blue", "stone", "river", "cat", "dog", "tree", "moon"};
  const auto text = [&](int64_t seed) {
    std::string out;
    for (int64_t w = 0; w < 1 + seed % 7; ++w) out += std::string(words[(seed * 5 + w * w) % 8]) + " ";
    return out;
  };
  CandidateSet set;
  for (int64_t q = 0; q < 9; ++q) {
    CandidateSet::List list{text(3 * q), {}, 1 + q % 2};
    for (int64_t c = 0; c < 3 + q % 4; ++c) list.passages.push_back(text(100 + 7 * q + c));
    set.lists.push_back(list);
  }
  return set;
}

/// Every candidate's score is that of `order`: a list of numbers per list.
ScoreLists fixed(std::vector<float> scores) {
  return [scores = std::move(scores)](std::span<const CandidateSet::List>) { return scores; };
}

TEST(EvaluateCandidates, AreTheMetricsOfEachList) {
  const auto self = make_self_comm();
  CandidateSet set;
  set.lists = {{"q", {"+", "+", "-", "-"}, 2}, {"r", {"+", "-", "-"}, 1}};
  // First list: order - + - +; second: order - - +.
  const TaskResult result = evaluate_candidates(*self, set, fixed({0.8f, 0.2f, 0.9f, 0.5f, -3, 2, 1}));
  EXPECT_NEAR(result.score("map"), ((1.0 / 2 + 2.0 / 4) / 2 + 1.0 / 3) / 2, 1e-15);
  EXPECT_NEAR(result.score("mrr_at_10"), (1.0 / 2 + 1.0 / 3) / 2, 1e-15);
  const double first = (1 / std::log2(3) + 1 / std::log2(5)) / (1 + 1 / std::log2(3)), second = 1 / std::log2(4);
  EXPECT_NEAR(result.score("ndcg_at_10"), (first + second) / 2, 1e-15);
  EXPECT_NEAR(result.score("ndcg_at_5"), (first + second) / 2, 1e-15);
  EXPECT_NEAR(result.score("ndcg_at_3"), (1 / std::log2(3) / (1 + 1 / std::log2(3)) + second) / 2, 1e-15);
  EXPECT_EQ(result.main_score, "map");
  EXPECT_EQ(result.count, 2);
  EXPECT_EQ(result.documents, 7);
}

TEST(EvaluateCandidates, AModelThatTellsNothingApartIsNotRewarded) {
  const auto self = make_self_comm();
  CandidateSet set;
  set.lists = {{"q", {"+", "-", "-", "-"}, 1}};
  EXPECT_NEAR(evaluate_candidates(*self, set, fixed({1, 1, 1, 1})).score("map"), 0.25, 1e-15);
  EXPECT_THROW(evaluate_candidates(*self, set, fixed({1, 1, NAN, 1})), Error);
}

TEST(EvaluateCandidates, ScoresAreIndependentOfRanks) {
  const TinyRerankerFolder folder;
  const TinyFolder embedder_folder;
  const auto backend = make_backend({});
  LoadedReranker reranker(folder.path(), {}, *backend);
  LoadedModel embedder(embedder_folder.path(), {}, *backend);
  const CandidateSet set = toy_lists();
  const auto self = make_self_comm();
  for (const ScoreLists& score : {score_with(reranker.scorer(), reranker.exec(), {"red ", ""}), score_with(embedder, {"", "blue "})}) {
    const TaskResult alone = evaluate_candidates(*self, set, score), together = evaluate_candidates(world_comm(), set, score);
    for (const auto& [name, value] : alone.scores) EXPECT_NEAR(together.score(name), value, 1e-12) << name;
    EXPECT_GT(alone.score("map"), 0);
    EXPECT_LT(alone.score("map"), 1);
  }
}

TEST(PairScorer, ScoresDoNotDependOnTheCompanyAPairIsIn) {
  const TinyRerankerFolder folder;
  const auto backend = make_backend({});
  LoadedReranker model(folder.path(), {.chunk_tokens = 16}, *backend);
  const TextPair pairs[] = {
      {"red cat", "blue dog tree"}, {"moon", ""}, {"", "stone"}, {"river river", "cat"}, {"red", "red red red red red red red"}};
  std::vector<float> together(5), alone(1), swapped(1);
  model.scorer().score(model.exec(), pairs, together);
  for (size_t i = 0; i < 5; ++i) {
    model.scorer().score(model.exec(), std::span(pairs).subspan(i, 1), alone);
    EXPECT_NEAR(alone[0], together[i], 1e-5f) << i;
  }
  const TextPair other{pairs[0].passage, pairs[0].query};
  model.scorer().score(model.exec(), std::span(&other, 1), swapped);
  EXPECT_GT(std::abs(swapped[0] - together[0]), 1e-4f);  // which text is the query matters
}

TEST(PairScorer, RefusesModelsAndLengthsThatCannotBe) {
  const auto backend = make_backend({});
  const TinyFolder embedder;
  EXPECT_THROW(LoadedReranker(embedder.path(), {}, *backend), Error);
  const TinyRerankerFolder folder;
  EXPECT_THROW(LoadedReranker(folder.path(), {.max_length = 33}, *backend), Error);  // 32 positions
  EXPECT_THROW(LoadedReranker(folder.path(), {.max_length = 5}, *backend), Error);
}

TEST(ReadCandidates, TakesPositivesFirstAndLeavesOutRowsWithoutANegative) {
  const TempDir dir;
  write_text(dir / "a.jsonl", R"({"query": "q", "pos": ["x", "y"], "neg": ["z"]})"
                              "\n"
                              R"({"query": "r", "pos": ["x"], "neg": []})"
                              "\n");
  const CandidateSet set = read_candidates(dir / "a.jsonl", {});
  ASSERT_EQ(set.lists.size(), 1u);
  EXPECT_EQ(set.left_out, 1);
  EXPECT_EQ(set.lists[0].query, "q");
  EXPECT_EQ(set.lists[0].passages, (std::vector<std::string>{"x", "y", "z"}));
  EXPECT_EQ(set.lists[0].positives, 2);
  write_text(dir / "b.jsonl", R"({"query": "r", "pos": ["x"], "neg": []})"
                              "\n");
  EXPECT_THROW(read_candidates(dir / "b.jsonl", {}), Error);
}

}  // namespace
}  // namespace lodestone::test
