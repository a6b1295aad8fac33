#include "core/memory.h"

#include <sys/mman.h>

#include "core/error.h"

namespace lodestone {

namespace {

constexpr size_t huge_page_bytes = size_t{2} << 20;

std::byte* map_pages(size_t size_bytes, int flags) {
  void* const pages = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  if (pages == MAP_FAILED) return nullptr;
  if (size_bytes >= huge_page_bytes) madvise(pages, size_bytes, MADV_HUGEPAGE);  // advice only: failing changes nothing but speed
  return static_cast<std::byte*>(pages);
}

}  // namespace

std::byte* HostMemory::allocate(size_t size_bytes) {
  if (std::byte* const pages = map_pages(size_bytes, 0)) return pages;
  throw Error(ExitCode::resource, "F14", cat("the system refused ", size_bytes >> 20, " MiB of memory"),
              "use fewer ranks per host, or a smaller model or batch");
}

std::byte* HostMemory::reserve(size_t size_bytes) {
  if (std::byte* const pages = map_pages(size_bytes, MAP_NORESERVE)) return pages;
  throw Error(ExitCode::resource, "F14", cat("the system refused to reserve ", size_bytes >> 20, " MiB of address space"),
              "raise `ulimit -v`");
}

void HostMemory::release(std::byte* data, size_t size_bytes) noexcept { munmap(data, size_bytes); }

}  // namespace lodestone
