#include "core/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

namespace lodestone {

namespace {
constexpr size_t alignment = 64;
#ifdef NDEBUG
constexpr bool poison_on_release = false;
#else
constexpr bool poison_on_release = true;
#endif
}  // namespace

Arena::Arena(size_t reserve_bytes) : reserved_(reserve_bytes) {
  void* p = mmap(nullptr, reserved_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED)
    throw Error(ExitCode::resource, "F14", cat("the system refused to reserve ", reserved_ >> 20, " MiB of address space"),
                "raise `ulimit -v`");
  madvise(p, reserved_, MADV_HUGEPAGE);  // advice only
  base_ = static_cast<std::byte*>(p);
}

Arena::~Arena() { munmap(base_, reserved_); }

size_t Arena::taken_bytes(DType dtype, const Shape& shape) {
  return (static_cast<size_t>(shape.count()) * size_of(dtype) + alignment - 1) / alignment * alignment;
}

Tensor Arena::tensor(DType dtype, Shape shape) {
  const size_t bytes = taken_bytes(dtype, shape);
  if (bytes > reserved_ - used_)
    throw Error(ExitCode::resource, "F14",
                cat("step memory is used up: ", (used_ + bytes) >> 20, " MiB needed, ", reserved_ >> 20, " MiB reserved"),
                "lower train.chunk_tokens or train.keep_activations_mb");
  const Tensor t(base_ + used_, dtype, shape);
  used_ += bytes;
  peak_ = std::max(peak_, used_);
  return t;
}

void Arena::release_to(size_t mark) {
  if (poison_on_release) std::memset(base_ + mark, 0xff, used_ - mark);  // all ones is a NaN in every float format
  used_ = mark;
}

}  // namespace lodestone
