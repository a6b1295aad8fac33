// Which vector kernels this processor can run.
#pragma once

#include "core/cpu/vector/table.h"

namespace lodestone {

/// The widest table that the processor supports: v4 (AVX-512), v3 (AVX2 and FMA) or v2 (SSE4.2). Throws Error (resource)
/// on a processor without SSE4.2.
const vec::Table& best_vector_table();

}  // namespace lodestone
