// How a rank waits for another one: shortly at full speed, then giving its core away.
#pragma once

#include <sched.h>
#include <time.h>

#include <cstdint>

namespace lodestone {

/// Call pause() between two looks at the condition. 64 looks at full speed (some microseconds), then yields for about two
/// milliseconds, then sleeps: ranks may outnumber cores, and a long wait leaves its core to worker threads.
class Patience {
 public:
  void pause() {
    if (++looks_ < spins) return;
    if (looks_ < spins + yields) {
      sched_yield();
      return;
    }
    const timespec nap{0, 50'000};
    nanosleep(&nap, nullptr);
  }

 private:
  static constexpr int64_t spins = 64, yields = 4096;
  int64_t looks_ = 0;
};

}  // namespace lodestone
