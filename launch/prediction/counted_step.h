// CountedStep: what one rank asks of a GPU in an optimizer step, found by the step itself on a backend that counts.
#pragma once

#include <memory>
#include <vector>

#include "comm/counting_comm.h"
#include "core/nn/config.h"
#include "core/params.h"
#include "losses/objective.h"

namespace lodestone {

/// The first of `ranks` ranks, alone, in the compute dtype `compute`. run() throws Error (resource, "F14") where step memory is used up.
class CountedStep {
 public:
  CountedStep(DType compute, int ranks, Launches launches, size_t step_memory_bytes = Arena::default_reserve_bytes);
  CountedStep(const CountedStep&) = delete;
  CountedStep& operator=(const CountedStep&) = delete;

  /// Where parameters are to lie.
  CountingBackend& backend() { return backend_; }
  const Group& ranks() const { return ranks_.group(); }

  /// Gradients of `objective` on each of `parts` batches like this one, their sum over ranks, their norm, AdamW; with `zero` of this rank's
  /// share only. As a training step does them, but without mining.
  void run(Objective& objective, const Batch& batch, int64_t parts, ParamStore& params, bool zero);

  /// Of all that was run.
  std::span<const Work> work() const { return backend_.work(); }
  /// That parameters, gradients, moments and step memory took at most.
  double memory_bytes() const { return static_cast<double>(held_bytes_ + arena_.peak_bytes()); }

 private:
  CountingBackend backend_;
  CountingGroup ranks_;
  Arena arena_;
  Exec ex_;
  size_t held_bytes_ = 0;
};

/// FLOPs of products that training these texts cannot do without: forward and backward, 6 a token and weight of an encoder's layers, and
/// 12 L T H for attention. What is computed twice does not count, nor does what stands before and behind the encoder.
double encoder_flops(const EncoderConfig& encoder, const TokenBatch& texts);

}  // namespace lodestone
