// What of a GPU's memory is left to its libraries when a run takes what is free.
#pragma once

#include <cstddef>

namespace lodestone {

/// Plans, workspaces, kernels that are loaded late, and communicators come behind step memory.
inline constexpr size_t left_to_libraries = size_t{512} << 20;

}  // namespace lodestone
