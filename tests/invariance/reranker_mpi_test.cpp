// Five optimizer steps of a reranker with dropout give the same losses and parameters for any number of ranks and any chunks.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/mpi_world.h"
#include "tests/support/toy_reranker.h"

namespace lodestone::test {
namespace {

constexpr int64_t steps = 5, group = 3;

struct Trajectory {
  std::vector<double> losses, parameters;
};

Trajectory train(DType compute, int64_t queries, Communicator& comm, const RerankerOptions& options) {
  ToyReranker run(compute, comm, options, "reference", compute == DType::f64 ? AdamWConfig{} : adam_above_rounding());
  Trajectory result;
  for (int64_t step = 0; step < steps; ++step)
    result.losses.push_back(run.train_step(step, toy_pairs(step, queries, group, comm.rank(), comm.size()), 1e-3));
  result.parameters = run.as_doubles(run.params.masters());
  return result;
}

/// The same training by every rank for itself, in one chunk.
Trajectory alone(DType compute, int64_t queries, const GroupLossOptions& loss) {
  const auto self = make_self_comm();
  return train(compute, queries, *self, {.loss = loss, .chunk_tokens = 1 << 20});
}

double largest_relative(const std::vector<double>& a, const std::vector<double>& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]) / std::abs(b[i]));
  return largest;
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

double relative_norm(const std::vector<double>& a, const std::vector<double>& b) {
  double difference = 0, whole = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    whole += b[i] * b[i];
  }
  return std::sqrt(difference / whole);
}

TEST(RerankerInvariance, DoublePrecisionTrainingIsIndependentOfRanksAndChunks) {
  const GroupLossOptions losses[] = {{}, {.target = GroupTarget::binary}, {.distillation_weight = 0.5}};
  for (const int64_t queries : {7, 2})  // uneven for 2, 3 and 4 ranks; fewer than 3 or 4 ranks, some of which have no row
    for (const GroupLossOptions& loss : losses) {
      const Trajectory expected = alone(DType::f64, queries, loss);
      for (const int64_t chunk_tokens : {1, 90, 1 << 20}) {
        const Trajectory got = train(DType::f64, queries, world_comm(), {.loss = loss, .chunk_tokens = chunk_tokens});
        EXPECT_LT(largest_relative(got.losses, expected.losses), 1e-12) << queries << " queries, chunks of " << chunk_tokens;
        EXPECT_LT(largest_difference(got.parameters, expected.parameters), 1e-9) << queries << " queries, chunks of " << chunk_tokens;
      }
    }
}

TEST(RerankerInvariance, SinglePrecisionTrainingIsIndependentOfRanksAndChunks) {
  for (const GroupTarget target : {GroupTarget::cross_entropy, GroupTarget::binary}) {
    const GroupLossOptions loss{.target = target};
    const Trajectory expected = alone(DType::f32, 7, loss);
    for (const int64_t chunk_tokens : {1, 1 << 20}) {
      const Trajectory got = train(DType::f32, 7, world_comm(), {.loss = loss, .chunk_tokens = chunk_tokens});
      EXPECT_LT(largest_relative(got.losses, expected.losses), losses_apart(1.3)) << "chunks of " << chunk_tokens;
      EXPECT_LT(relative_norm(got.parameters, expected.parameters), adam_parameters_apart()) << "chunks of " << chunk_tokens;
    }
  }
}

// Masks named by the place of a row on its rank, not in the global batch, must fail the same comparison.
TEST(RerankerInvariance, MasksNamedByTheRanksOwnPlacesFailTheSameComparison) {
  if (world_comm().size() == 1) GTEST_SKIP() << "one rank's places are the batch's";
  ToyReranker run(DType::f64, world_comm(), {});
  double largest = 0;
  const Trajectory expected = alone(DType::f64, 7, {});
  for (int64_t step = 0; step < steps; ++step) {
    Batch batch = toy_pairs(step, 7, group, world_comm().rank(), world_comm().size());
    for (size_t i = 0; i < batch.keys.size(); ++i) batch.keys[i] = text_key(i, Role::text, 0, 0);
    const double value = run.train_step(step, batch, 1e-3);
    largest = std::max(largest, std::abs(value - expected.losses[static_cast<size_t>(step)]));
  }
  EXPECT_GT(largest, 1e-6);
}

}  // namespace
}  // namespace lodestone::test
