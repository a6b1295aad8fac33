// The host's memory and a backend over it, for tests that have none of their own.
#pragma once

#include "core/cpu/reference/reference_backend.h"

namespace lodestone::test {

inline HostMemory host_memory;
inline ReferenceBackend host_backend;

}  // namespace lodestone::test
