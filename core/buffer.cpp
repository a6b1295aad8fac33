#include "core/buffer.h"

namespace lodestone {

Buffer::Buffer(Memory& memory, size_t size_bytes)
    : memory_(&memory), data_(size_bytes == 0 ? nullptr : memory.allocate(size_bytes)), size_bytes_(size_bytes) {}

Buffer::~Buffer() {
  if (data_ != nullptr) memory_->release(data_, size_bytes_);
}

Buffer::Buffer(Buffer&& other) noexcept
    : memory_(std::exchange(other.memory_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(memory_, other.memory_);
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  return *this;
}

Tensor Buffer::tensor(DType dtype, Shape shape) const {
  const Tensor t(data_, dtype, shape, memory_ == nullptr ? Device::cpu : memory_->device());
  LODE_CHECK(t.size_bytes() <= size_bytes_, "a tensor ", shape, " of ", name_of(dtype), " in a buffer of ", size_bytes_, " bytes");
  return t;
}

}  // namespace lodestone
