// The system's theorem: five optimizer steps with dropout give the same losses and parameters for any number of ranks and any
// chunks.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/detached_comm.h"
#include "tests/support/mpi_world.h"
#include "tests/support/toy_training.h"

namespace lodestone::test {
namespace {

constexpr int64_t steps = 5, queries = 7, group = 2;  // 7 queries: uneven for 2, 3 and 4 ranks

struct Trajectory {
  std::vector<double> losses, parameters;
};

/// Trains on `comm`; losses are summed and gradients reduced over it. The loss exchanges its vectors over `exchange`.
Trajectory train(DType compute, const LossConfig& loss, Communicator& comm, Communicator& exchange,
                 const EmbeddingObjectiveOptions& options) {
  ToyRun run(compute, exchange, make_loss(loss, 12), options);
  Trajectory result;
  for (int64_t step = 0; step < steps; ++step)
    result.losses.push_back(run.train_step(step, toy_batch(step, queries, group, comm.rank(), comm.size()), 1e-3));
  result.parameters = run.as_doubles(run.params.masters());
  return result;
}

/// One rank, one chunk, everything kept: computed by every rank for itself.
Trajectory reference(DType compute, const LossConfig& loss) {
  const auto self = make_self_comm();
  return train(compute, loss, *self, *self, {.chunk_tokens = 1 << 20, .keep_activations_bytes = size_t{1} << 40});
}

struct Distance {
  double loss = 0;       // largest relative difference of a step's loss
  double parameter = 0;  // largest absolute difference of a parameter
  double norm = 0;       // norm of the difference of parameter vectors, relative
};

Distance distance(const Trajectory& a, const Trajectory& b) {
  Distance d;
  for (size_t i = 0; i < a.losses.size(); ++i) d.loss = std::max(d.loss, std::abs(a.losses[i] - b.losses[i]) / b.losses[i]);
  double difference = 0, whole = 0;
  for (size_t i = 0; i < a.parameters.size(); ++i) {
    const double delta = a.parameters[i] - b.parameters[i];
    d.parameter = std::max(d.parameter, std::abs(delta));
    difference += delta * delta;
    whole += b.parameters[i] * b.parameters[i];
  }
  d.norm = std::sqrt(difference / whole);
  return d;
}

const LossConfig plain{.temperature = 0.1}, prefixes{.temperature = 0.1, .matryoshka_dims = {4, 12}},
    own_group{.temperature = 0.1, .in_batch_negatives = false};
const EmbeddingObjectiveOptions chunkings[] = {
    {.chunk_tokens = 1, .keep_activations_bytes = 0},              // every text alone, computed twice
    {.chunk_tokens = 25, .keep_activations_bytes = 60'000},        // some kept
    {.chunk_tokens = 1 << 20, .keep_activations_bytes = 1 << 30},  // one chunk
};

TEST(Invariance, DoublePrecisionTrainingIsIndependentOfRanksAndChunks) {
  for (const LossConfig& loss : {plain, prefixes, own_group}) {
    const Trajectory expected = reference(DType::f64, loss);
    for (const EmbeddingObjectiveOptions& options : chunkings) {
      const Distance d = distance(train(DType::f64, loss, world_comm(), world_comm(), options), expected);
      EXPECT_LT(d.loss, 1e-12) << "chunks of " << options.chunk_tokens;
      EXPECT_LT(d.parameter, 1e-9) << "chunks of " << options.chunk_tokens;
    }
  }
}

TEST(Invariance, SinglePrecisionTrainingIsIndependentOfRanksAndChunks) {
  const Trajectory expected = reference(DType::f32, plain);
  for (const EmbeddingObjectiveOptions& options : chunkings) {
    const Distance d = distance(train(DType::f32, plain, world_comm(), world_comm(), options), expected);
    EXPECT_LT(d.loss, 2e-6) << "chunks of " << options.chunk_tokens;
    EXPECT_LT(d.norm, 1e-6) << "chunks of " << options.chunk_tokens;
  }
}

TEST(Invariance, DetachedGatherFailsTheSameComparison) {
  if (world_comm().size() == 1) GTEST_SKIP() << "one rank has nothing to detach";
  DetachedComm detached(world_comm());
  const Distance d = distance(train(DType::f64, plain, world_comm(), detached, chunkings[1]), reference(DType::f64, plain));
  EXPECT_GT(d.loss, 1e-6);
  EXPECT_GT(d.parameter, 1e-4);
}

TEST(Invariance, TrainingMovesTheParameters) {
  const Trajectory trained = reference(DType::f64, plain);
  ToyRun untrained(DType::f64, world_comm(), make_loss(plain, 12), {});
  EXPECT_GT(distance(trained, {trained.losses, untrained.as_doubles(untrained.params.masters())}).norm, 1e-3);
}

}  // namespace
}  // namespace lodestone::test
