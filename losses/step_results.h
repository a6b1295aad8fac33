// StepResults: what a step leaves on the device until it is asked for, once.
#pragma once

#include "core/buffer.h"
#include "core/exec.h"

namespace lodestone {

/// The loss share of each part of a step, and the sum of squares of its gradient: f64, side by side, so that one download brings them all.
class StepResults {
 public:
  /// For steps of so many parts.
  StepResults(Backend& backend, int64_t parts)
      : backend_(backend),
        memory_(backend.memory(), static_cast<size_t>(parts + 1) * sizeof(double)),
        values_(memory_.tensor(DType::f64, {parts + 1})) {}

  /// All zero.
  void begin() { backend_.fill_zero(values_); }
  // Totals, as operations take them.
  Tensor share(int64_t part) const { return values_.slice({part, part + 1}); }
  Tensor squares() const { return values_.slice({values_.count() - 1, values_.count()}); }

  /// All of them on the host: the shares by part, then the squares. One download; waits for all that was enqueued. Until the innermost
  /// scope of `arena` ends.
  std::span<const double> read(Arena& arena) const { return fetch<double>(backend_, arena, values_); }

 private:
  Backend& backend_;
  Buffer memory_;
  Tensor values_;
};

}  // namespace lodestone
