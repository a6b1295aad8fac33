#include "core/optim/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"

namespace lodestone {

LrSchedule::LrSchedule(LrScheduleConfig config, int64_t total_steps)
    : config_(config),
      total_(total_steps),
      warmup_(config.warmup_steps ? *config.warmup_steps
                                  : static_cast<int64_t>(std::ceil(config.warmup_ratio * static_cast<double>(total_steps)))) {
  const auto refuse = [](const std::string& what, const std::string& remedy) { throw Error(ExitCode::usage, "config", what, remedy); };
  if (!(config_.lr >= 0)) refuse(cat("the learning rate ", config_.lr, " is negative"), "give a rate of 0 or more");
  if (!(config_.warmup_ratio >= 0 && config_.warmup_ratio <= 1))
    refuse(cat("the warm-up ratio ", config_.warmup_ratio, " is outside 0 to 1"), "give a share of the steps, such as 0.1");
  if (total_ < 0 || warmup_ < 0) refuse(cat("a schedule of ", total_, " steps with ", warmup_, " of warm-up"), "give counts of 0 or more");
}

double LrSchedule::at(int64_t step) const {
  const double t = static_cast<double>(step), T = static_cast<double>(total_), T_w = static_cast<double>(warmup_);
  if (step < warmup_) {
    switch (config_.warmup_shape) {
      case WarmupShape::linear:
        return config_.lr * (t / T_w);
      case WarmupShape::log:
        return config_.lr * (std::log(t + 1) / std::log(std::max(T_w, 2.0)));
    }
    throw_internal(__FILE__, __LINE__, "warmup_shape", "no such warm-up");
  }
  const double length = std::max(T - T_w, 1.0);
  switch (config_.decline) {
    case Decline::constant:
      return config_.lr;
    case Decline::linear:
      return config_.lr * std::max(0.0, (T - t) / length);
    case Decline::cosine:
      return config_.lr * 0.5 * (1 + std::cos(std::numbers::pi * std::min(1.0, (t - T_w) / length)));
  }
  throw_internal(__FILE__, __LINE__, "decline", "no such decline");
}

}  // namespace lodestone
