// The host's memory, for tests that have no backend.
#pragma once

#include "core/memory.h"

namespace lodestone::test {

inline HostMemory host_memory;

}  // namespace lodestone::test
