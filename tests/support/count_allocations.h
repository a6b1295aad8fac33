// Counts operator new in a test program. Include in exactly one file of it.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace lodestone::test {

/// Calls of operator new since the program started.
inline std::atomic<int64_t> allocations{0};

inline void* counted(void* p) {
  if (p == nullptr) throw std::bad_alloc();
  ++allocations;
  return p;
}

}  // namespace lodestone::test

// Not inlined: the compiler would pair malloc with delete and warn.
[[gnu::noinline]] void* operator new(std::size_t n) { return lodestone::test::counted(std::malloc(n)); }
[[gnu::noinline]] void* operator new[](std::size_t n) { return lodestone::test::counted(std::malloc(n)); }
[[gnu::noinline]] void* operator new(std::size_t n, std::align_val_t a) {
  const auto align = static_cast<std::size_t>(a);
  return lodestone::test::counted(std::aligned_alloc(align, (n + align - 1) / align * align));
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
