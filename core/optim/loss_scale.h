// LossScale: by what the loss is multiplied so that small gradients survive a narrow format, adapted as training goes on.
#pragma once

#include <cstdint>

namespace lodestone {

struct LossScaleConfig {
  double initial = 65536;
  int64_t window = 1000;   // finite steps in a row before the scale is doubled
  int64_t hysteresis = 2;  // overflows before the scale is first halved
  double minimum = 1;
};

/// What a checkpoint keeps.
struct LossScaleState {
  double scale = 1;
  int64_t finite_steps = 0;     // since the last overflow or doubling
  int64_t hysteresis_left = 1;  // at 1 the next overflow halves the scale
  friend bool operator==(const LossScaleState&, const LossScaleState&) = default;
};

enum class GradientState : uint8_t { finite, overflow };

/// The rule of DeepSpeed's dynamic loss scaler with delayed shift. An overflow uses up hysteresis; once that is at 1, every
/// overflow halves the scale. `window` finite steps in a row double it and restore the hysteresis. Powers of two, so scaling
/// changes no bit of a gradient that neither overflows nor underflows.
/// A step: Objective::accumulate(weight * value()); the loss shares it returns are divided by value(); after the sum over ranks
/// scaled_gradient(norm, value(), ...) of clip.h gives the true norm and what the optimizer multiplies into the gradient. When
/// that norm is not finite the update is skipped. update() follows in either case, with the same answer on all ranks.
class LossScale {
 public:
  /// Throws Error (usage, "config") unless initial >= minimum > 0, window and hysteresis >= 1.
  explicit LossScale(const LossScaleConfig& config);

  double value() const { return state_.scale; }
  void update(GradientState gradient);
  /// No room left: an overflow here is not one of scale, and a run that goes on having them has diverged.
  bool at_minimum() const { return state_.scale <= config_.minimum; }

  const LossScaleState& state() const { return state_; }
  void restore(const LossScaleState& state) { state_ = state; }

 private:
  LossScaleConfig config_;
  LossScaleState state_;
};

}  // namespace lodestone
