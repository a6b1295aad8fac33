#include "core/optim/loss_scale.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace lodestone {

LossScale::LossScale(const LossScaleConfig& config) : config_(config), state_{config.initial, 0, config.hysteresis} {
  const bool good = config_.minimum > 0 && config_.initial >= config_.minimum && std::isfinite(config_.initial) && config_.window >= 1 &&
                    config_.hysteresis >= 1;
  if (!good)
    throw Error(ExitCode::usage, "config",
                cat("a loss scale from ", config_.initial, ", at least ", config_.minimum, ", with window ", config_.window,
                    " and hysteresis ", config_.hysteresis),
                "give initial >= minimum > 0, and a window and hysteresis of 1 or more");
}

void LossScale::update(GradientState gradient) {
  if (gradient == GradientState::overflow) {
    state_.finite_steps = 0;
    if (state_.hysteresis_left > 1)
      --state_.hysteresis_left;
    else
      state_.scale = std::max(state_.scale / 2, config_.minimum);
    return;
  }
  if (++state_.finite_steps < config_.window) return;
  state_.finite_steps = 0;
  state_.hysteresis_left = config_.hysteresis;
  state_.scale *= 2;
}

}  // namespace lodestone
