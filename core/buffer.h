// Buffer: bytes on one device, owned, zero-filled, move-only.
#pragma once

#include "core/tensor.h"

namespace lodestone {

class Buffer {
 public:
  Buffer() = default;
  /// size_bytes of zeroed memory, 4 KiB aligned (huge pages asked for from 2 MiB on). Throws Error (resource) when the machine has no more.
  explicit Buffer(size_t size_bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;

  std::byte* data() const { return data_; }
  size_t size_bytes() const { return size_bytes_; }
  /// The first elements of the buffer as a tensor. Throws when they do not fit.
  Tensor tensor(DType dtype, Shape shape) const;

 private:
  std::byte* data_ = nullptr;
  size_t size_bytes_ = 0;
};

}  // namespace lodestone
