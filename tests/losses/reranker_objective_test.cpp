// RerankerObjective on one rank: chunks change nothing, the gradient is exact, memory and allocations are bounded, and it learns.
#include "losses/reranker_objective.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/group_losses.h"
#include "launch/console/allocations.h"
#include "tests/support/gradcheck.h"
#include "tests/support/toy_reranker.h"

namespace lodestone::test {
namespace {

constexpr int64_t all_tokens = 1 << 20;
const GroupLossOptions cross_entropy{}, binary{.target = GroupTarget::binary}, distilled{.distillation_weight = 0.5};

TEST(RerankerObjective, ChunksOfAnySizeGiveTheLossAndGradientOfOneWithDropout) {
  const auto self = make_self_comm();
  const Batch batch = toy_pairs(3, 6, 3, 0, 1);
  for (const GroupLossOptions& loss : {cross_entropy, binary, distilled}) {
    ToyReranker whole(DType::f64, *self, {.loss = loss, .chunk_tokens = all_tokens});
    const double expected = whole.gradient(3, batch);
    const std::vector<double> gradient = whole.as_doubles(whole.grads);
    for (const int64_t chunk_tokens : {1, 50, 100}) {  // one group, about two, about four
      ToyReranker run(DType::f64, *self, {.loss = loss, .chunk_tokens = chunk_tokens});
      EXPECT_NEAR(run.gradient(3, batch), expected, 1e-14 * expected);
      const std::vector<double> chunked = run.as_doubles(run.grads);
      for (size_t i = 0; i < gradient.size(); ++i) ASSERT_NEAR(chunked[i], gradient[i], 1e-14) << chunk_tokens << " tokens, element " << i;
    }
  }
}

TEST(RerankerObjective, GradientOfTheWholeModelAgreesWithCentralDifferences) {
  const auto self = make_self_comm();
  for (const GroupLossOptions& loss : {cross_entropy, binary, distilled}) {
    ToyReranker run(DType::f64, *self, {.loss = loss, .chunk_tokens = 50});
    const Batch batch = toy_pairs(1, 3, 2, 0, 1);
    run.gradient(1, batch);
    const std::vector<double> gradient = run.as_doubles(run.grads);
    std::vector<double> direction(gradient.size());
    for (size_t i = 0; i < direction.size(); ++i) direction[i] = 2 * Key(4).uniform(i) - 1;
    std::vector<double> values = run.as_doubles(run.params.masters());
    const auto value = [&] {
      run.set_masters(values);
      return run.gradient(1, batch);
    };
    expect_gradient("reranker", values, gradient, value, 211);
    expect_directional("reranker", values, gradient, direction, value);
  }
}

TEST(RerankerObjective, LossIsTheGroupLossOfTheRerankersScores) {
  const auto self = make_self_comm();
  ToyReranker run(DType::f64, *self, {.chunk_tokens = all_tokens});
  const Batch batch = toy_pairs(2, 4, 3, 0, 1);
  TokenBatch tokens = batch.tokens();
  tokens.keys = {};
  const Tensor scores = run.arena.tensor(DType::f64, {12});
  run.reranker.forward(run.ex, upload_texts(*run.backend, run.arena, tokens), scores);
  std::vector<double> unused(12);
  EXPECT_NEAR(evaluate(run.objective, run.ex, batch), group_cross_entropy(run.as_doubles(scores), 3, 0.25, unused), 1e-14);
}

TEST(RerankerObjective, EvaluateGivesTheScoresOfItsOwnForwardPassInTheBatchsOrder) {
  const auto self = make_self_comm();
  const Batch batch = toy_pairs(2, 4, 3, 0, 1);
  TokenBatch tokens = batch.tokens();
  tokens.keys = {};
  for (const int64_t chunk_tokens : {int64_t{50}, all_tokens}) {  // about two groups a chunk, and all of them
    ToyReranker run(DType::f64, *self, {.chunk_tokens = chunk_tokens});
    const auto scope = run.arena.scope();
    const Tensor expected = run.arena.tensor(DType::f64, {12}), all = run.arena.tensor(DType::f64, {12}), total = zero_total(run.ex);
    run.reranker.forward(run.ex, upload_texts(*run.backend, run.arena, tokens), expected);
    run.objective.evaluate(run.ex, batch, total, all);
    EXPECT_EQ(run.as_doubles(total)[0], evaluate(run.objective, run.ex, batch));
    const std::vector<double> scores = run.as_doubles(all), alone = run.as_doubles(expected);
    for (size_t i = 0; i < scores.size(); ++i) EXPECT_NEAR(scores[i], alone[i], 1e-14) << "pair " << i;
    EXPECT_THROW(run.objective.evaluate(run.ex, batch, total, all.slice({0, 11})), Error);
  }
}

TEST(RerankerObjective, EvaluateDropsNothingAndWeightScalesLossAndGradient) {
  const auto self = make_self_comm();
  ToyReranker run(DType::f64, *self, {.chunk_tokens = 60});
  Batch batch = toy_pairs(3, 5, 2, 0, 1);
  const double once = evaluate(run.objective, run.ex.with(Key(1)), batch);
  EXPECT_EQ(once, evaluate(run.objective, run.ex.with(Key(2)), batch));
  EXPECT_NE(once, run.gradient(0, batch));  // dropout is on there
  batch.keys.clear();
  EXPECT_NEAR(once, run.gradient(0, batch), 1e-14);
  const std::vector<double> gradient = run.as_doubles(run.grads);
  run.backend->fill_zero(run.grads);
  EXPECT_NEAR(accumulate(run.objective, run.ex, batch, 0.25, run.grads, {}), 0.25 * once, 1e-14);
  const std::vector<double> quarter = run.as_doubles(run.grads);
  for (size_t i = 0; i < gradient.size(); ++i) ASSERT_NEAR(quarter[i], 0.25 * gradient[i], 1e-14);
}

TEST(RerankerObjective, HookReportsEveryParameterOnceInTheLastChunkOnly) {
  const auto self = make_self_comm();
  ToyReranker run(DType::f64, *self, {.chunk_tokens = 40});
  for (const int64_t queries : {6, 0}) {
    Batch batch = toy_pairs(3, 6, 2, 0, 1);
    if (queries == 0) {  // a rank without rows of the batch
      batch = Batch{};
      batch.group = 2;
      batch.global_queries = 6;
    }
    const HookReport seen = watch_hook(run, run.objective, batch);
    EXPECT_EQ(seen.times, std::vector<int>(seen.times.size(), 1));
    EXPECT_EQ(seen.gradient, run.as_doubles(run.grads));  // final when reported
  }
}

TEST(RerankerObjective, DistillationWithoutTeacherScoresIsRefused) {
  const auto self = make_self_comm();
  ToyReranker run(DType::f64, *self, {.loss = distilled});
  Batch batch = toy_pairs(3, 2, 2, 0, 1);
  batch.teacher_scores.clear();
  EXPECT_THROW(run.gradient(0, batch), Error);
}

TEST(RerankerObjective, AllocatesNothingOnceWarm) {
  const auto self = make_self_comm();
  ToyReranker run(DType::f32, *self, {.loss = distilled, .chunk_tokens = 60}, "cpu");
  const Batch batch = toy_pairs(3, 6, 2, 0, 1);
  const GradHook ready = [](Slice) {};
  accumulate(run.objective, run.ex, batch, 1, run.grads, ready);
  const uint64_t before = heap_allocations();
  accumulate(run.objective, run.ex, batch, 1, run.grads, ready);
  EXPECT_EQ(heap_allocations(), before);
}

TEST(RerankerObjective, MemoryIsThatOfOneChunkWhateverTheBatch) {
  const auto self = make_self_comm();
  const auto peak = [&](int64_t n) {
    ToyReranker run(DType::f32, *self, {.chunk_tokens = 200}, "cpu");
    run.gradient(0, toy_pairs(0, n, 2, 0, 1));
    return static_cast<double>(run.arena.peak_bytes());
  };
  const double small = peak(32);
  for (const int64_t n : {128, 512}) EXPECT_NEAR(peak(n) / small, 1, 0.05) << n;
}

TEST(RerankerObjective, LearnsWhichPassageSaysItsQueryAgain) {
  const auto self = make_self_comm();
  ToyReranker run(DType::f32, *self, {.chunk_tokens = 500}, "cpu");
  const Batch batch = toy_pairs(7, 12, 3, 0, 1);
  const double before = evaluate(run.objective, run.ex, batch);
  for (int64_t step = 0; step < 80; ++step) run.train_step(step, batch, 5e-3);
  EXPECT_GT(before, 0.9);
  EXPECT_LT(evaluate(run.objective, run.ex, batch), 0.1);
}

}  // namespace
}  // namespace lodestone::test
