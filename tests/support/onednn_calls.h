// What oneDNN asks of the heap inside its own calls: tests count it apart from what this program asks.
#pragma once

#include <cstdint>

namespace lodestone::test {

struct LibraryCalls {
  uint64_t products = 0;     // calls of dnnl_sgemm
  uint64_t primitives = 0;   // calls of dnnl_primitive_execute
  uint64_t allocations = 0;  // through operator new, by any thread, while one of these ran
};

/// Since the start of the process; take a difference. The definitions beside this header stand before the library's and call them.
LibraryCalls library_calls();

/// Heap allocations of the process that were not made inside those calls.
uint64_t own_allocations();

}  // namespace lodestone::test
