// Kernels in which a block has a row of a matrix, and goes along it several elements at a time.
#pragma once

#include "core/cuda/device/values.h"

namespace lodestone::cuda {

/// Calls visit(h) for the first of every N elements of a row that are this thread's. N divides width.
template <int N, class Visit>
__device__ __forceinline__ void each(int64_t width, const Visit& visit) {
  for (int64_t h = static_cast<int64_t>(threadIdx.x) * N; h < width; h += static_cast<int64_t>(blockDim.x) * N) visit(h);
}

/// for_width() for rows of `width` elements one behind the other: several at once where that also divides the width.
template <class... T, class Body>
void for_row_width(int64_t width, bool aligned, const Body& body) {
  for_width<T...>(aligned && ((width % per_16_bytes<T> == 0) && ...), body);
}

}  // namespace lodestone::cuda
