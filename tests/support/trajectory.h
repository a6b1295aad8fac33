// Five optimizer steps of a tiny embedder, and how far two runs of them lie apart: what invariance tests compare.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>

#include "tests/support/toy_training.h"

namespace lodestone::test {

struct Trajectory {
  std::vector<double> losses, parameters;
};

/// What is trained: a loss, made anew for each run, and this rank's part of the global batch of a step.
struct Training {
  std::function<std::unique_ptr<Loss>()> loss;
  std::function<Batch(int64_t step, int rank, int world)> batch;
  int64_t steps = 5;
};

/// In f64 the defaults; in f32 what compares more than rounding.
inline AdamWConfig adam_for(DType compute) { return compute == DType::f64 ? AdamWConfig{} : adam_above_rounding(); }

/// Trains on `comm`; losses are summed and gradients reduced over it. The loss exchanges its vectors over `exchange`.
inline Trajectory train(DType compute, const Training& training, Communicator& comm, Communicator& exchange,
                        const EmbeddingObjectiveOptions& options) {
  ToyRun run(compute, exchange, training.loss(), options, Checkpointing::none, "reference", adam_for(compute));
  Trajectory result;
  for (int64_t step = 0; step < training.steps; ++step)
    result.losses.push_back(run.train_step(step, training.batch(step, comm.rank(), comm.size()), 1e-3));
  result.parameters = run.as_doubles(run.params.masters());
  return result;
}

/// One rank, one chunk, everything kept: computed by every rank for itself.
inline Trajectory reference(DType compute, const Training& training) {
  const auto self = make_self_comm();
  return train(compute, training, *self, *self, {.chunk_tokens = 1 << 20, .keep_activations_bytes = size_t{1} << 40});
}

struct Distance {
  double loss = 0;       // largest relative difference of a step's loss
  double parameter = 0;  // largest absolute difference of a parameter
  double norm = 0;       // norm of the difference of parameter vectors, relative
};

inline Distance distance(const Trajectory& a, const Trajectory& b) {
  Distance d;
  for (size_t i = 0; i < a.losses.size(); ++i) d.loss = std::max(d.loss, std::abs(a.losses[i] - b.losses[i]) / b.losses[i]);
  for (size_t i = 0; i < a.parameters.size(); ++i) d.parameter = std::max(d.parameter, std::abs(a.parameters[i] - b.parameters[i]));
  d.norm = relative_difference(a.parameters, b.parameters);
  return d;
}

inline constexpr EmbeddingObjectiveOptions chunkings[] = {
    {.chunk_tokens = 1, .keep_activations_bytes = 0},              // every text alone, computed twice
    {.chunk_tokens = 25, .keep_activations_bytes = 60'000},        // some kept
    {.chunk_tokens = 1 << 20, .keep_activations_bytes = 1 << 30},  // one chunk
};

}  // namespace lodestone::test
