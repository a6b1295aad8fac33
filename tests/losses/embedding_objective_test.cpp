// EmbeddingObjective on one rank: chunks change nothing, gradients are exact, memory and allocations are bounded, and it learns.
#include "losses/embedding_objective.h"

#include <gtest/gtest.h>

#include <cmath>

#include "launch/console/allocations.h"
#include "losses/make_loss.h"
#include "tests/support/rounding.h"
#include "tests/support/toy_training.h"

namespace lodestone::test {
namespace {

constexpr size_t keep_nothing = 0, keep_all = size_t{1} << 40;

std::unique_ptr<Loss> toy_loss() { return make_loss({.terms = {{InfoNceOptions{.temperature = 0.2}}}}, 12, Device::cpu); }

std::vector<double> gradient(DType compute, const EmbeddingObjectiveOptions& options, double& value,
                             Checkpointing checkpointing = Checkpointing::none) {
  const auto self = make_self_comm();
  ToyRun run(compute, *self, toy_loss(), options, checkpointing);
  value = run.gradient(3, toy_batch(3, 6, 2, 0, 1));
  return run.as_doubles(run.grads);
}

TEST(EmbeddingObjective, ChunkSizesAndKeptActivationsGiveEqualGradientsWithDropout) {
  double whole_value = 0;
  const std::vector<double> whole = gradient(DType::f64, {.chunk_tokens = 100000, .keep_activations_bytes = keep_all}, whole_value);
  ASSERT_GT(norm(whole), 0.01);
  for (const int64_t chunk_tokens : {1, 20, 40, 100000}) {  // one text, about three, about six, all
    for (const size_t keep : {keep_nothing, size_t{100'000}, keep_all}) {
      double value = 0;
      const std::vector<double> chunked = gradient(DType::f64, {.chunk_tokens = chunk_tokens, .keep_activations_bytes = keep}, value);
      EXPECT_NEAR(value, whole_value, 1e-14 * whole_value);
      for (size_t i = 0; i < whole.size(); ++i) ASSERT_NEAR(chunked[i], whole[i], 1e-13) << chunk_tokens << " tokens, element " << i;
    }
  }
}

// What decides how much is kept, the room of a device, may differ between a run and the one that goes on from it.
TEST(EmbeddingObjective, TheGradientHasTheSameBitsWhicheverChunksAreKept) {
  const auto self = make_self_comm();
  const Batch batch = toy_batch(3, 6, 2, 0, 1);
  for (const DType compute : {DType::f32, DType::bf16}) {
    std::vector<std::vector<double>> gradients;
    std::vector<double> values;
    std::vector<int64_t> kept;
    size_t activations = 0;
    const auto train = [&](size_t keep) {
      ToyRun run(compute, *self, toy_loss(), {.chunk_tokens = 20, .keep_activations_bytes = keep}, Checkpointing::none, "cpu");
      values.push_back(run.gradient(3, batch));
      gradients.push_back(run.as_doubles(run.grads));
      kept.push_back(run.objective.chunks().kept);
      activations = run.arena.peak_bytes(Use::activations);
      EXPECT_EQ(kept.back() == run.objective.chunks().all, keep == keep_all);
    };
    train(keep_all);
    train(activations / 2);
    train(keep_nothing);
    EXPECT_GT(kept[0], kept[1]);
    EXPECT_GT(kept[1], kept[2]);
    EXPECT_EQ(kept[2], 1) << "the last chunk is never computed twice";
    for (size_t i = 1; i < kept.size(); ++i) {
      EXPECT_EQ(values[i], values[0]) << name_of(compute) << ", " << kept[i] << " chunks kept";
      EXPECT_EQ(gradients[i], gradients[0]) << name_of(compute) << ", " << kept[i] << " chunks kept";
    }
  }
}

TEST(EmbeddingObjective, RecomputedBlocksGiveEqualGradients) {
  double value = 0, again = 0;
  const std::vector<double> kept = gradient(DType::f64, {.chunk_tokens = 40}, value);
  const std::vector<double> recomputed = gradient(DType::f64, {.chunk_tokens = 40}, again, Checkpointing::per_block);
  EXPECT_EQ(value, again);
  for (size_t i = 0; i < kept.size(); ++i) ASSERT_NEAR(recomputed[i], kept[i], 1e-15);
}

// Each chunking beside f64, and not beside another one, with which it shares most roundings unless a device chooses its products by shape.
TEST(EmbeddingObjective, SinglePrecisionChunksAgreeWithinRounding) {
  const auto self = make_self_comm();
  const Batch batch = toy_batch(3, 6, 2, 0, 1);
  ToyRun run(DType::f64, *self, toy_loss(), {.chunk_tokens = 100000, .keep_activations_bytes = keep_all});
  const double exact_value = run.gradient(3, batch);
  const std::vector<double> exact = run.as_doubles(run.grads);
  run.set_masters(beside(run.as_doubles(run.params.masters())));
  const double value_there = run.gradient(3, batch);
  const std::vector<double> there = run.as_doubles(run.grads);
  constexpr int64_t terms = 24;  // of the longest sum: over the feed-forward's width
  for (const auto& [chunk_tokens, keep] : {std::pair(int64_t{100000}, keep_all), {int64_t{1}, keep_nothing}}) {
    double value = 0;
    const std::vector<double> single = gradient(DType::f32, {.chunk_tokens = chunk_tokens, .keep_activations_bytes = keep}, value);
    EXPECT_NEAR(value, exact_value, rounding_of({&exact_value, 1}, {&value_there, 1}, terms)) << chunk_tokens << " tokens";
    EXPECT_LT(distance_between(single, exact), rounding_of(exact, there, terms)) << chunk_tokens << " tokens";
  }
}

// The directional derivative along a random v; with h = 1e-5 the quotient's error is about h^2 times the third derivative, plus
// 1e-16 / h from rounding.
TEST(EmbeddingObjective, GradientOfTheWholeModelAgreesWithCentralDifferences) {
  const auto self = make_self_comm();
  ToyRun run(DType::f64, *self, make_loss({.terms = {{InfoNceOptions{.temperature = 0.2}}}, .matryoshka_dims = {4, 12}}, 12, Device::cpu),
             {.chunk_tokens = 30, .keep_activations_bytes = 0});
  const Batch batch = toy_batch(3, 6, 2, 0, 1);
  run.gradient(3, batch);
  const std::vector<double> g = run.as_doubles(run.grads);
  std::mt19937 random(9);
  std::normal_distribution<double> normal;
  std::vector<double> v(g.size());
  for (double& x : v) x = normal(random);
  double along = 0;
  for (size_t i = 0; i < g.size(); ++i) along += g[i] * v[i];
  const double h = 1e-6;
  std::vector<double> values = run.as_doubles(run.params.masters());
  const auto moved = [&](double by) {
    for (size_t i = 0; i < v.size(); ++i) values[i] += by * v[i];
    run.set_masters(values);
    return run.gradient(3, batch);
  };
  const double above = moved(h), below = moved(-2 * h);
  EXPECT_NEAR(along, (above - below) / (2 * h), 1e-7 * std::abs(along));
}

TEST(EmbeddingObjective, EvaluateDropsNothingAndLeavesGradientsAlone) {
  const auto self = make_self_comm();
  ToyRun run(DType::f64, *self, toy_loss(), {.chunk_tokens = 40});
  const Batch batch = toy_batch(3, 6, 2, 0, 1);
  const double once = evaluate(run.objective, run.ex.with(Key(1)), batch), again = evaluate(run.objective, run.ex.with(Key(2)), batch);
  EXPECT_EQ(once, again);
  EXPECT_NE(once, run.gradient(0, batch));  // dropout is on there
  Batch without_keys = batch;
  without_keys.keys.clear();
  EXPECT_NEAR(once, run.gradient(0, without_keys), 1e-14);
}

TEST(EmbeddingObjective, HookReportsEveryParameterOnceInTheLastChunkOnly) {
  const auto self = make_self_comm();
  ToyRun run(DType::f64, *self, toy_loss(), {.chunk_tokens = 20, .keep_activations_bytes = 0});
  for (const int64_t queries : {6, 0}) {
    Batch batch = toy_batch(3, 6, 2, 0, 1);
    if (queries == 0) {  // a rank without rows of the batch
      batch = Batch{};
      batch.group = 2;
      batch.global_queries = 6;
      batch.rank_queries = {0};
    }
    const HookReport seen = watch_hook(run, run.objective, batch);
    EXPECT_EQ(seen.times, std::vector<int>(seen.times.size(), 1));
    EXPECT_EQ(seen.gradient, run.as_doubles(run.grads));  // final when reported
  }
}

TEST(EmbeddingObjective, AllocatesNothingOnceWarm) {
  const auto self = make_self_comm();
  ToyRun run(DType::f32, *self, toy_loss(), {.chunk_tokens = 40, .keep_activations_bytes = 50'000}, Checkpointing::none, "cpu");
  const Batch batch = toy_batch(3, 6, 2, 0, 1);
  const GradHook ready = [](Slice) {};
  accumulate(run.objective, run.ex, batch, 1, run.grads, ready);
  const uint64_t before = heap_allocations();
  accumulate(run.objective, run.ex, batch, 1, run.grads, ready);
  EXPECT_EQ(heap_allocations(), before);
}

TEST(EmbeddingObjective, MemoryBeyondTheEmbeddingsIsIndependentOfTheBatch) {
  const auto self = make_self_comm();
  const auto beyond = [&](int64_t n) {
    ToyRun run(DType::f32, *self, std::make_unique<InfoNce>(InfoNceOptions{.temperature = 0.2, .tile_elements = 1}),
               {.chunk_tokens = 512, .keep_activations_bytes = 0});
    run.gradient(0, toy_batch(0, n, 1, 0, 1, 30));
    // The peak is in the second pass: embeddings, their gradient and a copy in sorted order, then the last chunk's activations
    // and those of the chunk that is computed again.
    const int64_t texts = 2 * n, width = 12;
    return static_cast<double>(run.arena.peak_bytes()) - static_cast<double>(3 * texts * width) * sizeof(float);
  };
  const double small = beyond(64);
  for (const int64_t n : {256, 1024}) EXPECT_NEAR(beyond(n) / small, 1, 0.05) << n;
}

/// Remembers of what type the vectors are that a loss is given, and that it may write.
class TypeProbe final : public Loss {
 public:
  explicit TypeProbe(std::vector<DType>& seen) : seen_(seen) {}
  LossResult evaluate(Exec& ex, const Group&, ConstTensor emb, const Pairs&, double, Tensor d_emb, Tensor) override {
    seen_ = {emb.dtype(), d_emb.dtype()};
    ex.backend.fill_zero(d_emb);
    return {};
  }

 private:
  std::vector<DType>& seen_;
};

// Scores are products of these vectors in their own type unless loss.score_precision says otherwise, and no logit is ever rounded to bf16.
TEST(EmbeddingObjective, LossesReadAndWriteVectorsInF32UnderBf16) {
  const auto self = make_self_comm();
  for (const auto& [compute, wide] : {std::pair(DType::bf16, DType::f32), {DType::f32, DType::f32}, {DType::f64, DType::f64}}) {
    std::vector<DType> seen;
    ToyRun run(compute, *self, std::make_unique<TypeProbe>(seen), {.chunk_tokens = 40}, Checkpointing::none,
               compute == DType::f64 ? "reference" : "cpu");
    run.gradient(0, toy_batch(0, 3, 2, 0, 1));
    EXPECT_EQ(seen, (std::vector<DType>{wide, wide})) << name_of(compute);
  }
}

TEST(EmbeddingObjective, LearnsToTellTwelvePairsApartInFewSteps) {
  const auto self = make_self_comm();
  ToyRun run(DType::f32, *self, make_loss({.terms = {{InfoNceOptions{.temperature = 0.1}}}}, 12, Device::cpu), {.chunk_tokens = 60});
  const Batch batch = toy_batch(7, 12, 1, 0, 1);
  const double before = evaluate(run.objective, run.ex, batch);
  for (int64_t step = 0; step < 60; ++step) run.train_step(step, batch, 5e-3);
  const double after = evaluate(run.objective, run.ex, batch);
  EXPECT_GT(before, 1.0);
  EXPECT_LT(after, 0.1);
}

}  // namespace
}  // namespace lodestone::test
