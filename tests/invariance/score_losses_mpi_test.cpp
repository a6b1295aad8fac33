// Training on any loss of gold or teacher scores does not depend on ranks or chunks. Stabilised distillation is among the
// contrastive losses.
#include <gtest/gtest.h>

#include "losses/cosent.h"
#include "losses/distill.h"
#include "losses/matryoshka.h"
#include "tests/support/mpi_world.h"
#include "tests/support/partial_gather_comm.h"
#include "tests/support/trajectory.h"

namespace lodestone::test {
namespace {

constexpr int64_t queries = 7;  // uneven for 2, 3 and 4 ranks

/// Gold and teacher scores of few values, by step and global row.
template <int64_t group>
Batch scored_batch(int64_t step, int rank, int world) {
  Batch batch = toy_batch(step, queries, group, rank, world);
  const auto number = [&](int64_t place) { return static_cast<double>((13 * step + 7 * place) % 5); };
  for (int64_t i = batch.first_query; i < batch.first_query + batch.queries; ++i) {
    batch.scores.push_back(0.25 * number(i));
    for (int64_t j = i * group; j < (i + 1) * group; ++j) batch.teacher_scores.push_back(0.5 * number(j));
  }
  return batch;
}

struct ScoreCase {
  std::string name;
  Training training;
};

Training cosent() {
  return {.loss = [] { return std::make_unique<Cosent>(CosentOptions{.temperature = 0.1}); }, .batch = scored_batch<1>};
}

std::vector<ScoreCase> score_cases() {
  const auto prefixes = [] { return std::make_unique<Matryoshka>(cosent().loss(), std::vector<int64_t>{4, 12}); };
  const auto divergence = [] { return std::make_unique<GroupDistillation>(GroupDistillationOptions{.temperature = 0.1}); };
  return {{"CoSENT", cosent()},
          {"Matryoshka CoSENT", {.loss = prefixes, .batch = scored_batch<1>}},
          {"KL divergence", {.loss = divergence, .batch = scored_batch<3>}},
          {"margin-MSE", {.loss = [] { return std::make_unique<MarginMse>(MarginMseOptions{}); }, .batch = scored_batch<3>}}};
}

TEST(ScoreLossInvariance, DoublePrecisionTrainingIsIndependentOfRanksAndChunks) {
  for (const auto& [name, training] : score_cases()) {
    const Trajectory expected = reference(DType::f64, training);
    for (const EmbeddingObjectiveOptions& options : chunkings) {
      const Distance d = distance(train(DType::f64, training, world_comm(), world_comm(), options), expected);
      EXPECT_LT(d.loss, 1e-12) << name << ", chunks of " << options.chunk_tokens;
      EXPECT_LT(d.parameter, 1e-9) << name << ", chunks of " << options.chunk_tokens;
    }
  }
}

// Gradients, not trajectories: Adam's first step divides a gradient by its own size, so that in f32 a parameter whose true
// gradient is no more than rounding moves by up to a learning rate, whichever way that rounding goes.
TEST(ScoreLossInvariance, SinglePrecisionGradientsAreIndependentOfRanksAndChunks) {
  const auto self = make_self_comm();
  for (const auto& [name, training] : score_cases()) {
    ToyRun whole(DType::f32, *self, training.loss(), chunkings[2]), cut(DType::f32, world_comm(), training.loss(), chunkings[1]);
    const double expected = whole.gradient(0, training.batch(0, 0, 1));
    EXPECT_NEAR(cut.gradient(0, training.batch(0, world_comm().rank(), world_comm().size())), expected, 2e-6 * expected) << name;
    EXPECT_LT(distance({{}, cut.as_doubles(cut.grads)}, {{}, whole.as_doubles(whole.grads)}).norm, 2e-6) << name;
  }
}

TEST(ScoreLossInvariance, PairsOfOneRankOnlyFailTheSameComparison) {
  if (world_comm().size() == 1) GTEST_SKIP() << "one rank has nothing to miss";
  PartialGatherComm partial(world_comm());
  const Distance d = distance(train(DType::f64, cosent(), world_comm(), partial, chunkings[1]), reference(DType::f64, cosent()));
  EXPECT_GT(d.loss, 1e-3);
  EXPECT_GT(d.parameter, 1e-4);
}

}  // namespace
}  // namespace lodestone::test
