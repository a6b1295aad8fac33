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
    const size_t size_bytes = grown(buffer_.size_bytes(), static_cast<size_t>(count) * sizeof(T));
    if (size_bytes > buffer_.size_bytes()) buffer_ = Buffer(memory_, size_bytes);
    return reinterpret_cast<T*>(buffer_.data());
  }
  /// Bytes that it holds.
  size_t size_bytes() const { return buffer_.size_bytes(); }
  /// Bytes that one of `held_bytes` holds after `need_bytes` were taken.
  static constexpr size_t grown(size_t held_bytes, size_t need_bytes) {
    return need_bytes > held_bytes ? need_bytes + need_bytes / 4 : held_bytes;
  }

 private:
  HostMemory memory_;
  Buffer buffer_;
};

}  // namespace lodestone
