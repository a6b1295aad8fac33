// How many heap allocations this process has made through operator new, from all threads.
#pragma once

#include <cstdint>

namespace lodestone {

/// Counts since the start of the process; take a difference. Memory that libraries take with malloc is not among them.
uint64_t heap_allocations();

}  // namespace lodestone
