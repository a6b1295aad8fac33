// Meter: pairs and tokens per second, and the share of time spent waiting for data.
#pragma once

#include "launch/console/log.h"

namespace lodestone {

struct Rates {
  double pairs_per_s = 0, tokens_per_s = 0, step_s = 0;
  double stall_share = 0;  // of the time: the trainer waited for the loader
};

/// Adds up steps between two readings.
class Meter {
 public:
  void add(double pairs, double tokens, double total_stall_s) {
    pairs_ += pairs;
    tokens_ += tokens;
    stall_s_ = total_stall_s;
    ++steps_;
  }
  /// Rates since the last call, or since construction.
  Rates take() {
    const double now = now_s(), elapsed = now - since_s_;
    const Rates r{pairs_ / elapsed, tokens_ / elapsed, elapsed / static_cast<double>(steps_ > 0 ? steps_ : 1),
                  (stall_s_ - stall_before_s_) / elapsed};
    pairs_ = tokens_ = 0;
    steps_ = 0;
    since_s_ = now;
    stall_before_s_ = stall_s_;
    return r;
  }
  /// Leaves out what happens until resume(): evaluation and saving are not training.
  void pause() { paused_s_ = now_s(); }
  void resume() { since_s_ += now_s() - paused_s_; }

 private:
  double pairs_ = 0, tokens_ = 0, stall_s_ = 0, stall_before_s_ = 0, since_s_ = now_s(), paused_s_ = 0;
  int64_t steps_ = 0;
};

}  // namespace lodestone
