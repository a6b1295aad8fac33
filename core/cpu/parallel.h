// Loops over ranges on the backend's threads.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace lodestone {

/// Threads of one backend. One thread runs bodies directly, without entering the OpenMP runtime.
class Parallel {
 public:
  explicit Parallel(int threads) : threads_(std::max(1, threads)) {}
  int threads() const { return threads_; }

  /// body(begin, end) over [0, count) in contiguous ranges whose bounds are multiples of `grain`, one range a thread.
  template <class Body>
  void ranges(int64_t count, int64_t grain, Body body) const {
    if (count <= 0) return;
    const int64_t grains = (count + grain - 1) / grain;
    const int parts = static_cast<int>(std::min<int64_t>(threads_, grains));
    if (parts == 1) return body(int64_t{0}, count);
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int i = 0; i < parts; ++i) {
      const int64_t begin = grains * i / parts * grain, end = std::min(count, grains * (i + 1) / parts * grain);
      if (begin < end) body(begin, end);
    }
  }

  /// body(item, thread) for each item of [0, count), in any order; thread is below threads().
  template <class Body>
  void items(int64_t count, Body body) const {
    if (threads_ == 1 || count <= 1) {
      for (int64_t i = 0; i < count; ++i) body(i, 0);
      return;
    }
#pragma omp parallel for num_threads(threads_) schedule(dynamic, 1)
    for (int64_t i = 0; i < count; ++i) body(i, omp_get_thread_num());
  }

 private:
  int threads_;
};

}  // namespace lodestone
