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

// Conditions of these losses are 2.9 (CoSENT) to 5.0 (margin-MSE), by which losses_apart() are 3.6e-6 to 6.0e-6. They are held to less, of
// which a third is seen.
TEST(ScoreLossInvariance, SinglePrecisionTrainingIsIndependentOfRanksAndChunks) {
  for (const auto& [name, training] : score_cases()) {
    const Distance d = distance(train(DType::f32, training, world_comm(), world_comm(), chunkings[1]), reference(DType::f32, training));
    EXPECT_LT(d.loss, 2e-6) << name;
    EXPECT_LT(d.norm, adam_parameters_apart()) << name;
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
