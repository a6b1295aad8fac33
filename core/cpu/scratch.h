// Scratch: memory for the inside of one operation, kept between calls.
#pragma once

#include "core/buffer.h"

namespace lodestone {

/// Grows to the largest need seen and never shrinks, so that repeated shapes allocate nothing.
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  /// At least `count` elements of T, uninitialised, valid until the next call.
  template <class T>
  T* take(int64_t count) {
    const size_t need = static_cast<size_t>(count) * sizeof(T);
    if (need > buffer_.size_bytes()) buffer_ = Buffer(memory_, need + need / 4);
    return reinterpret_cast<T*>(buffer_.data());
  }

 private:
  HostMemory memory_;
  Buffer buffer_;
};

}  // namespace lodestone
