// LrSchedule: the learning rate of each step - constant, linear or cosine, behind a warm-up.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace lodestone {

enum class Decline : uint8_t { constant, linear, cosine };

/// As configurations name it.
constexpr std::string_view name_of(Decline value) {
  switch (value) {
    case Decline::constant:
      return "constant";
    case Decline::linear:
      return "linear";
    case Decline::cosine:
      return "cosine";
  }
  return {};
}
enum class WarmupShape : uint8_t { linear, log };

/// As configurations name it.
constexpr std::string_view name_of(WarmupShape value) {
  switch (value) {
    case WarmupShape::linear:
      return "linear";
    case WarmupShape::log:
      return "log";
  }
  return {};
}

struct LrScheduleConfig {
  double lr = 5e-5;  // the peak
  Decline decline = Decline::linear;
  std::optional<int64_t> warmup_steps = std::nullopt;  // overrides the ratio
  double warmup_ratio = 0;                             // warm-up steps = ceil(ratio * total steps)
  WarmupShape warmup_shape = WarmupShape::linear;
};

/// With T steps in all and T_w of warm-up, at step t counted from 0:
///   t < T_w    lr t / T_w, or lr log(t + 1) / log(T_w) for the log shape (T_w taken as 2 at least)
///   otherwise  lr;  lr max(0, (T - t) / (T - T_w));  or  lr max(0, (1 + cos(pi (t - T_w) / (T - T_w))) / 2)
/// The first step of a run with warm-up has rate 0, as in Transformers.
class LrSchedule {
 public:
  /// Throws Error (usage, "config") on a negative rate, a ratio outside [0, 1] or a negative count.
  LrSchedule(LrScheduleConfig config, int64_t total_steps);

  double at(int64_t step) const;
  int64_t warmup_steps() const { return warmup_; }

 private:
  LrScheduleConfig config_;
  int64_t total_, warmup_;
};

}  // namespace lodestone
