// RetroMAE over ranks: five steps with dropout give the same losses and parameters for any number of ranks and any chunks, because
// both means are over the targets of all ranks.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/mpi_world.h"
#include "tests/support/toy_retromae.h"

namespace lodestone::test {
namespace {

struct Trajectory {
  std::vector<double> losses, parameters;
};

/// Trains on `comm`, the counts of targets being summed over `counting`.
Trajectory train(DType compute, Communicator& comm, Communicator& counting, const RetroMaeOptions& options, int64_t chunk_tokens) {
  ToyRetroMae run(compute, counting, options, chunk_tokens);
  const Planes all(comm, *run.backend);
  Trajectory result;
  for (int64_t step = 0; step < 5; ++step) {
    const Batch batch = toy_masked_batch(step, 7, comm.rank(), comm.size(), options);  // 7 texts: uneven for 2, 3 and 4 ranks
    run.backend->fill_zero(run.grads);
    double value = accumulate(run.objective, run.at_step(step), batch, 1, run.grads, {});
    all.group().device.all_reduce(run.grads, run.grads, Reduce::sum).wait();
    all_reduce(comm, std::span(&value, 1), Reduce::sum);
    run.backend->axpy(-0.1, run.grads, run.params.masters());
    run.params.refresh(*run.backend);
    result.losses.push_back(value);
  }
  result.parameters = run.as_doubles(run.params.masters());
  return result;
}

Trajectory reference(DType compute, const RetroMaeOptions& options) {
  const auto self = make_self_comm();
  return train(compute, *self, *self, options, 1 << 20);
}

struct Distance {
  double loss = 0, parameter = 0, norm = 0;  // relative, absolute, relative
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

const RetroMaeOptions forms[] = {
    {}, {.h1_mode = QueryStream::add, .decoder_weight = 0.5}, {.decoding = Decoding::basic}, {.decoder_weight = 0}};

TEST(RetroMaeInvariance, DoublePrecisionTrainingIsIndependentOfRanksAndChunks) {
  for (const RetroMaeOptions& options : forms) {
    const Trajectory expected = reference(DType::f64, options);
    for (const int64_t chunk_tokens : {1, 25, 1 << 20}) {
      const Distance d = distance(train(DType::f64, world_comm(), world_comm(), options, chunk_tokens), expected);
      EXPECT_LT(d.loss, 1e-12) << "chunks of " << chunk_tokens;
      EXPECT_LT(d.parameter, 1e-9) << "chunks of " << chunk_tokens;
    }
  }
}

// The longest sum is over a row's words. The loss's condition is 0.2, and 1 its own rounding; that of a step's gradient is 9 to 10
// (tests/losses/retromae_objective_test.cpp measures it). These steps are plain ones, of a tenth of the gradient, and move parameters
// by 3.7%.
TEST(RetroMaeInvariance, SinglePrecisionTrainingIsIndependentOfRanksAndChunks) {
  const int64_t words = toy_retromae_config().encoder.vocab;
  const Trajectory expected = reference(DType::f32, {});
  for (const int64_t chunk_tokens : {1, 25, 1 << 20}) {
    const Distance d = distance(train(DType::f32, world_comm(), world_comm(), {}, chunk_tokens), expected);
    EXPECT_LT(d.loss, losses_apart(1, words)) << "chunks of " << chunk_tokens;
    EXPECT_LT(d.norm, parameters_apart(3.7e-2, 9, words)) << "chunks of " << chunk_tokens;
  }
}

TEST(RetroMaeInvariance, MeansOverEachRanksOwnTargetsFailTheSameComparison) {
  if (world_comm().size() == 1) GTEST_SKIP() << "one rank has all targets";
  const auto self = make_self_comm();
  const Distance d = distance(train(DType::f64, world_comm(), *self, {}, 25), reference(DType::f64, {}));
  EXPECT_GT(d.loss, 1e-3);
  EXPECT_GT(d.parameter, 1e-4);
}

}  // namespace
}  // namespace lodestone::test
