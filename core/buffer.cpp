#include "core/buffer.h"

#include <sys/mman.h>

namespace lodestone {

namespace {
constexpr size_t huge_page_bytes = size_t{2} << 20;
}

Buffer::Buffer(size_t size_bytes) : size_bytes_(size_bytes) {
  if (size_bytes == 0) return;
  void* p = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED)
    throw Error(ExitCode::resource, "F14", cat("the system refused ", size_bytes >> 20, " MiB of memory"),
                "use fewer ranks per host, or a smaller model or batch");
  if (size_bytes >= huge_page_bytes) madvise(p, size_bytes, MADV_HUGEPAGE);  // advice only: failing changes nothing but speed
  data_ = static_cast<std::byte*>(p);
}

Buffer::~Buffer() {
  if (data_ != nullptr) munmap(data_, size_bytes_);
}

Buffer::Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_bytes_(std::exchange(other.size_bytes_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  return *this;
}

Tensor Buffer::tensor(DType dtype, Shape shape) const {
  const Tensor t(data_, dtype, shape);
  LODE_CHECK(t.size_bytes() <= size_bytes_, "a tensor ", shape, " of ", name_of(dtype), " in a buffer of ", size_bytes_, " bytes");
  return t;
}

}  // namespace lodestone
