// Objective: tokens in, parameter gradients added, loss share out. All that the training loop knows.
#pragma once

#include <functional>

#include "losses/loss.h"

namespace lodestone {

/// Called when the gradients of a slice of the flat vector are final (backward is past them, or will be when what was enqueued so far is
/// done). May start its reduction.
using GradHook = std::function<void(Slice)>;

/// Chunks of a batch, and those whose activations were kept from the first pass, so that they were not computed twice.
struct ChunkCounts {
  int64_t kept = 0, all = 0;
};

class Objective {
 public:
  virtual ~Objective() = default;
  /// Adds weight * gradient into grads (flat, wide dtype), and weight * this rank's share of the global loss into share (f64 [1]).
  /// `ready` is called once per final slice, in the last chunk's backward only; empty for all but a step's last part. The result's scores
  /// stay until the next call.
  virtual LossResult accumulate(Exec ex, const Batch& batch, double weight, Tensor grads, Tensor share, const GradHook& ready) = 0;
  /// The loss share alone: no gradient, no dropout.
  virtual void evaluate(Exec ex, const Batch& batch, Tensor share) = 0;
  /// Of the last accumulate(); none where no chunk is ever computed twice.
  virtual ChunkCounts chunks() const { return {}; }
};

}  // namespace lodestone
