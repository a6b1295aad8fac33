// Scratch: memory for the inside of one operation, kept between calls.
#pragma once

#include "core/buffer.h"

namespace lodestone {

/// Grows to the largest need seen and never shrinks, so that repeated shapes allocate nothing.
class Scratch {
 public:
  /// At least `count` elements of T, uninitialised, valid until the next call.
  template <class T>
  T* take(int64_t count) {
    const size_t need = static_cast<size_t>(count) * sizeof(T);
    if (need > memory_.size_bytes()) memory_ = Buffer(need + need / 4);
    return reinterpret_cast<T*>(memory_.data());
  }

 private:
  Buffer memory_;
};

}  // namespace lodestone
