// Scores of negatives against values worked out by hand, and ranking candidates anew.
#include "losses/negative_scores.h"

#include <gtest/gtest.h>

#include <cmath>

#include "losses/make_loss.h"
#include "tests/support/toy_training.h"

namespace lodestone::test {
namespace {

Pairs pairs_of(int64_t queries, int64_t group) {
  Pairs p;
  p.queries = p.global_queries = queries;
  p.group = group;
  return p;
}

/// Of vectors [texts, width].
void cosines_of(DType dtype, std::span<const double> emb, Shape shape, const Pairs& pairs, std::span<double> scores) {
  const auto backend = any_backend("reference");
  Arena arena(backend->memory(), size_t{1} << 20);
  const auto scope = arena.scope();
  Exec ex{*backend, arena, Key{}, dtype};
  negative_scores(ex, tensor_of(*backend, arena, emb, shape, dtype), pairs, Similarity::cosine, scores);
}

TEST(NegativeScores, EqualAHandComputation) {
  // Two queries, groups of three: a positive, then two negatives.
  const std::vector<double> emb{3, 4, 0, 2,           // queries
                                1, 0, 4, 3, -3, -4,   // query 0: cosines 24/25 and -1
                                5, 5, 1, 1, 0,  -7};  // query 1: 1/sqrt(2) and -1
  const double expected[] = {0.96, -1, std::sqrt(0.5), -1};
  for (const DType dtype : {DType::f64, DType::f32}) {
    std::vector<double> scores(4), means(2);
    cosines_of(dtype, emb, {8, 2}, pairs_of(2, 3), scores);
    for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(scores[i], expected[i], 1e-15);
    mean_per_query(scores, means);
    EXPECT_NEAR(means[0], -0.02, 1e-15);
    EXPECT_NEAR(means[1], (std::sqrt(0.5) - 1) / 2, 1e-15);
  }
}

TEST(NegativeScores, NoQueriesAndZeroVectorsAreHarmless) {
  std::vector<double> scores, means;
  cosines_of(DType::f64, {}, {0, 4}, pairs_of(0, 3), scores);
  mean_per_query(scores, means);
  const std::vector<double> zero(6);
  scores.resize(1);
  cosines_of(DType::f64, zero, {3, 2}, pairs_of(1, 2), scores);
  EXPECT_EQ(scores[0], 0);
}

TEST(NegativeScores, ALossThatRemembersThemGivesTheSameLossAndGradient) {
  const auto comm = make_self_comm();
  const LossConfig config{.terms = {{InfoNceOptions{.temperature = 0.1}}}};
  ToyRun plain(DType::f64, *comm, make_loss(config, 12, Device::cpu), {});
  ToyRun with(DType::f64, *comm, std::make_unique<ScoredLoss>(make_loss(config, 12, Device::cpu), Similarity::cosine),
              {.chunk_tokens = 20});
  Batch batch = toy_batch(0, 5, 4, 0, 1);
  EXPECT_NEAR(plain.gradient(0, batch), with.gradient(0, batch), 1e-12);
  EXPECT_LT(relative_difference(with.as_doubles(with.grads), plain.as_doubles(plain.grads)), 1e-12);
  // Recomputed from the vectors alone. The toy drops out in training, so the vectors are those of a batch without keys.
  batch.keys.clear();
  const auto scope = with.arena.scope();
  const LossResult result = with.objective.accumulate(with.ex, batch, 1, with.grads, zero_total(with.ex), {});
  ASSERT_EQ(result.scores.size(), 15u);
  const std::vector<double> e = with.as_doubles(with.objective.embed(with.ex, batch.tokens()));
  for (int64_t i = 0; i < 5; ++i)
    for (int64_t k = 1; k < 4; ++k) {
      double qn = 0, qq = 0, nn = 0;
      for (int64_t d = 0; d < 12; ++d) {
        const double q = e[static_cast<size_t>(i * 12 + d)], n = e[static_cast<size_t>((5 + i * 4 + k) * 12 + d)];
        qn += q * n, qq += q * q, nn += n * n;
      }
      EXPECT_NEAR(result.scores[static_cast<size_t>(i * 3 + k - 1)], qn / std::sqrt(qq * nn), 1e-14);
    }
}

TEST(NegativeScores, AreDotProductsWhereTheFolderMeansThem) {
  const std::vector<double> emb{3, 4, 0, 2, 1, 0, 4, 3, -3, -4, 5, 5, 1, 1, 0, -7};
  const auto backend = any_backend("reference");
  Arena arena(backend->memory(), size_t{1} << 20);
  const auto scope = arena.scope();
  Exec ex{*backend, arena, Key{}, DType::f64};
  std::vector<double> scores(4);
  negative_scores(ex, tensor_of(*backend, arena, emb, {8, 2}, DType::f64), pairs_of(2, 3), Similarity::dot, scores);
  EXPECT_EQ(scores, (std::vector<double>{24, -25, 2, -14}));
}

TEST(RankCandidates, PutsTheHardestFirstAndLeavesRepetitionsOut) {
  const std::vector<float> query{1, 1}, candidates{1, 0, 2, 2, -1, 5, 0, 4, 4, 4, 7, 0, 8, 8};
  const std::vector<uint64_t> hashes{10, 11, 12, 13, 14, 10, 15};
  EXPECT_EQ(rank_candidates(view(std::span(query)), view(std::span(candidates)).reshape({7, 2}), Similarity::cosine, hashes),
            (std::vector<int32_t>{1, 4, 6, 0, 3, 2}));  // equal cosines by place: 1, 4 and 6, 0 and 3; 5 repeats 0
  EXPECT_EQ(rank_candidates(view(std::span(query)), view(std::span(candidates)).reshape({7, 2}), Similarity::dot, hashes),
            (std::vector<int32_t>{6, 4, 1, 2, 3, 0}));  // products 1, 4, 4, 4, 8, 7, 16
  EXPECT_TRUE(rank_candidates(view(std::span(query)), ConstTensor(nullptr, DType::f32, {0, 2}), Similarity::cosine, {}).empty());
}

}  // namespace
}  // namespace lodestone::test
