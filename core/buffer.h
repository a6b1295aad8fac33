// Buffer: bytes of one memory, owned, zero-filled, move-only.
#pragma once

#include "core/memory.h"
#include "core/tensor.h"

namespace lodestone {

class Buffer {
 public:
  Buffer() = default;
  /// size_bytes of zeroed memory, 4 KiB aligned; `memory` must outlive the buffer. Throws Error (resource) when it has no more.
  Buffer(Memory& memory, size_t size_bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;

  std::byte* data() const { return data_; }
  size_t size_bytes() const { return size_bytes_; }
  /// The first elements of the buffer as a tensor. Throws when they do not fit.
  Tensor tensor(DType dtype, Shape shape) const;

 private:
  Memory* memory_ = nullptr;
  std::byte* data_ = nullptr;
  size_t size_bytes_ = 0;
};

}  // namespace lodestone
