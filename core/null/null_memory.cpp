#include "core/null/null_memory.h"

#include <sys/mman.h>

#include "core/error.h"

namespace lodestone {

std::byte* NullMemory::allocate(size_t size_bytes) {
  std::byte* const data = reserve(size_bytes);
  allocations_.insert(data);
  allocated_bytes_ += size_bytes;
  return data;
}

std::byte* NullMemory::reserve(size_t size_bytes) {
  void* const pages = mmap(nullptr, size_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages != MAP_FAILED) return static_cast<std::byte*>(pages);
  throw Error(ExitCode::resource, "F14", cat("the system refused to reserve ", size_bytes >> 20, " MiB of address space"),
              "raise `ulimit -v`");
}

void NullMemory::release(std::byte* data, size_t size_bytes) noexcept {
  if (allocations_.erase(data) > 0) allocated_bytes_ -= size_bytes;
  munmap(data, size_bytes);
}

}  // namespace lodestone
