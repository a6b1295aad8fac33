// How many heap allocations this process has made through operator new, from all threads.
#pragma once

#include <cstdint>

namespace lodestone::test {

/// Counts since the start of the process; take a difference.
uint64_t allocations();

}  // namespace lodestone::test
