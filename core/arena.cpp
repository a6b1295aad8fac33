#include "core/arena.h"

#include <algorithm>
#include <cstring>

namespace lodestone {

namespace {

constexpr size_t least_host_bytes = size_t{16} << 20;
#ifdef NDEBUG
constexpr bool poison_on_release = false;
#else
constexpr bool poison_on_release = true;
#endif

constexpr size_t mebibytes_up(size_t bytes) { return (bytes + (size_t{1} << 20) - 1) >> 20; }

}  // namespace

Arena::Arena(Memory& memory, size_t reserve_bytes) : memory_(memory), limit_(memory.reservable(reserve_bytes)) {
  device_ = {memory_.reserve(limit_), limit_};
  const size_t host_bytes = std::max(least_host_bytes, limit_ / 8);
  try {
    host_ = {host_memory_.reserve(host_bytes), host_bytes};
  } catch (...) {
    memory_.release(device_.base, device_.reserved);
    throw;
  }
}

Arena::~Arena() {
  host_memory_.release(host_.base, host_.reserved);
  memory_.release(device_.base, device_.reserved);
}

size_t Arena::taken_bytes(DType dtype, const Shape& shape) { return aligned(static_cast<size_t>(shape.count()) * size_of(dtype)); }

void Arena::refuse(size_t need_bytes, size_t limit_bytes) {
  throw Error(ExitCode::resource, "F14",
              cat("step memory is used up: ", mebibytes_up(need_bytes), " MiB needed, ", limit_bytes >> 20, " MiB reserved"),
              "lower train.chunk_tokens or train.keep_activations_mb, or raise train.step_memory_mb");
}

Tensor Arena::tensor(DType dtype, Shape shape) { return Tensor(take(device_, taken_bytes(dtype, shape)), dtype, shape, device()); }

std::byte* Arena::take(Region& region, size_t bytes) {
  if (bytes > region.reserved - region.used) refuse(region.used + bytes, region.reserved);
  if (bytes > limit_ - used_bytes()) refuse(used_bytes() + bytes, limit_);
  std::byte* const taken = region.base + region.used;
  region.used += bytes;
  by_use_[static_cast<size_t>(use_)] += bytes;
  peak_beyond_ = std::max(peak_beyond_, beyond_vectors());
  if (used_bytes() > peak_) {
    peak_ = used_bytes();
    peak_by_use_ = by_use_;
  }
  return taken;
}

void Arena::end_scope(size_t device_mark, size_t host_mark) noexcept {
  memory_.end_scope(*this, device_.base + device_mark, device_.used - device_mark);
  --depth_;
  const auto poison = [](const Region& region, size_t mark) {
    std::memset(region.base + mark, 0xff, region.used - mark);  // all ones is a NaN in every float format
  };
  if (poison_on_release) poison(host_, host_mark);
  if (poison_on_release && device() == Device::cpu) poison(device_, device_mark);
  device_.used = device_mark;
  host_.used = host_mark;
}

}  // namespace lodestone
