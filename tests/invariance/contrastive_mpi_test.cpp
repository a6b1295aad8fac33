// Training on any contrastive loss, with texts that are each other's duplicates, does not depend on ranks or chunks.
#include <gtest/gtest.h>

#include "tests/losses/contrastive_cases.h"
#include "tests/support/detached_comm.h"
#include "tests/support/mpi_world.h"
#include "tests/support/trajectory.h"

namespace lodestone::test {
namespace {

constexpr int64_t queries = 7, group = 3;  // 7 queries: uneven for 2, 3 and 4 ranks

/// Hashes and teacher scores of few values, by global row: false negatives within a rank and across ranks.
Batch batch_with_duplicates(int64_t step, int rank, int world) {
  Batch batch = toy_batch(step, queries, group, rank, world);
  for (int64_t i = 0; i < batch.queries; ++i) {
    const auto row = static_cast<uint64_t>(batch.first_query + i);
    batch.query_hash[static_cast<size_t>(i)] = 100 + row % 5;
    for (uint64_t g = 0; g < group; ++g) {
      const size_t place = static_cast<size_t>(i * group) + g;
      batch.passage_hash[place] = (3 * row + g) % 11;
      batch.passage_document[place] = (row + 2 * g) % 6;
      batch.teacher_scores.push_back(0.5 * static_cast<double>((13 * static_cast<uint64_t>(step) + 7 * row + 3 * g) % 5));
    }
  }
  return batch;
}

Training training(const ContrastiveCase& c) { return {.loss = c.make, .batch = batch_with_duplicates}; }

TEST(ContrastiveInvariance, DoublePrecisionTrainingIsIndependentOfRanksAndChunks) {
  for (const ContrastiveCase& c : contrastive_cases()) {
    const Trajectory expected = reference(DType::f64, training(c));
    for (const EmbeddingObjectiveOptions& options : chunkings) {
      const Distance d = distance(train(DType::f64, training(c), world_comm(), world_comm(), options), expected);
      EXPECT_LT(d.loss, 1e-12) << c.name << ", chunks of " << options.chunk_tokens;
      EXPECT_LT(d.parameter, 1e-9) << c.name << ", chunks of " << options.chunk_tokens;
    }
  }
}

TEST(ContrastiveInvariance, SinglePrecisionTrainingIsIndependentOfRanksAndChunks) {
  for (const ContrastiveCase& c : contrastive_cases()) {
    const Trajectory expected = reference(DType::f32, training(c));
    const Distance d = distance(train(DType::f32, training(c), world_comm(), world_comm(), chunkings[1]), expected);
    EXPECT_LT(d.loss, losses_apart(1.2)) << c.name;  // 0.3 to 0.9, and 1.2 of those over own groups or negatives
    EXPECT_LT(d.norm, adam_parameters_apart()) << c.name;
  }
}

TEST(ContrastiveInvariance, DetachedExchangeFailsTheSameComparison) {
  if (world_comm().size() == 1) GTEST_SKIP() << "one rank has nothing to detach";
  DetachedComm detached(world_comm());
  for (const ContrastiveCase& c : contrastive_cases()) {
    if (c.gradients == GradientsTravel::no) continue;
    const Distance d = distance(train(DType::f64, training(c), world_comm(), detached, chunkings[1]), reference(DType::f64, training(c)));
    EXPECT_GT(d.loss, 1e-6) << c.name;
    EXPECT_GT(d.parameter, 1e-5) << c.name;
  }
}

}  // namespace
}  // namespace lodestone::test
