// Objective: tokens in, parameter gradients added, loss share out. All that the training loop knows.
#pragma once

#include <functional>

#include "core/batch.h"
#include "core/exec.h"

namespace lodestone {

/// Called when the gradients of a slice of the flat vector are final (backward is past them). May start its reduction.
using GradHook = std::function<void(Slice)>;

class Objective {
 public:
  virtual ~Objective() = default;
  /// Adds weight * gradient into grads (flat, wide dtype) and returns weight * this rank's share of the global loss.
  /// `ready` is called once per final slice, in the last chunk's backward only; empty for all but a step's last part.
  virtual double accumulate(Exec ex, const Batch& batch, double weight, Tensor grads, const GradHook& ready) = 0;
  /// The loss share alone: no gradient, no dropout.
  virtual double evaluate(Exec ex, const Batch& batch) = 0;
};

}  // namespace lodestone
