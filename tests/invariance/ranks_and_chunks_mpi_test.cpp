// The system's theorem: five optimizer steps with dropout give the same losses and parameters for any number of ranks and any
// chunks.
#include <gtest/gtest.h>

#include "losses/make_loss.h"
#include "tests/support/detached_comm.h"
#include "tests/support/mpi_world.h"
#include "tests/support/trajectory.h"

namespace lodestone::test {
namespace {

constexpr int64_t queries = 7, group = 2;  // 7 queries: uneven for 2, 3 and 4 ranks

Training training(const LossConfig& loss) {
  return {.loss = [loss] { return make_loss(loss, 12, Device::cpu); },
          .batch = [](int64_t step, int rank, int world) { return toy_batch(step, queries, group, rank, world); }};
}

const LossConfig plain{.terms = {{InfoNceOptions{.temperature = 0.1}}}}, prefixes{.terms = plain.terms, .matryoshka_dims = {4, 12}},
    own_group{.terms = {{InfoNceOptions{.temperature = 0.1, .candidates = Candidates::own_group}}}};

TEST(Invariance, DoublePrecisionTrainingIsIndependentOfRanksAndChunks) {
  for (const LossConfig& loss : {plain, prefixes, own_group}) {
    const Trajectory expected = reference(DType::f64, training(loss));
    for (const EmbeddingObjectiveOptions& options : chunkings) {
      const Distance d = distance(train(DType::f64, training(loss), world_comm(), world_comm(), options), expected);
      EXPECT_LT(d.loss, 1e-12) << "chunks of " << options.chunk_tokens;
      EXPECT_LT(d.parameter, 1e-9) << "chunks of " << options.chunk_tokens;
    }
  }
}

TEST(Invariance, SinglePrecisionTrainingIsIndependentOfRanksAndChunks) {
  const Trajectory expected = reference(DType::f32, training(plain));
  for (const EmbeddingObjectiveOptions& options : chunkings) {
    const Distance d = distance(train(DType::f32, training(plain), world_comm(), world_comm(), options), expected);
    EXPECT_LT(d.loss, losses_apart(1.1)) << "chunks of " << options.chunk_tokens;
    EXPECT_LT(d.norm, adam_parameters_apart()) << "chunks of " << options.chunk_tokens;
  }
}

TEST(Invariance, DetachedGatherFailsTheSameComparison) {
  if (world_comm().size() == 1) GTEST_SKIP() << "one rank has nothing to detach";
  DetachedComm detached(world_comm());
  const Distance d =
      distance(train(DType::f64, training(plain), world_comm(), detached, chunkings[1]), reference(DType::f64, training(plain)));
  EXPECT_GT(d.loss, 1e-6);
  EXPECT_GT(d.parameter, 1e-4);
}

TEST(Invariance, TrainingMovesTheParameters) {
  const Trajectory trained = reference(DType::f64, training(plain));
  ToyRun untrained(DType::f64, world_comm(), make_loss(plain, 12, Device::cpu), {});
  EXPECT_GT(distance(trained, {trained.losses, untrained.as_doubles(untrained.params.masters())}).norm, 1e-3);
}

}  // namespace
}  // namespace lodestone::test
