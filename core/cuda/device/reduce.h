// Sums and maxima over the threads of a warp and of a block, always in one order.
#pragma once

#include "core/cuda/device/launch.h"

namespace lodestone::cuda {

struct Add {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
struct Max {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a > b ? a : b;
  }
};

/// Over the 32 threads of a warp; every one gets it.
template <class T, class Op>
__device__ T reduce_warp(T value, Op op) {
  for (int bits = warp_size / 2; bits > 0; bits /= 2) value = op(value, __shfl_xor_sync(~0u, value, bits));
  return value;
}

/// Over the threads of a block of at most 1,024; every one gets it. parts: room for a value of each warp, in shared memory, which may be
/// used again once this returns.
template <class T, class Op>
__device__ T reduce_block(T value, Op op, T none, T* parts) {
  const int warp = static_cast<int>(threadIdx.x) / warp_size, lane = static_cast<int>(threadIdx.x) % warp_size;
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  value = reduce_warp(value, op);
  if (lane == 0) parts[warp] = value;
  __syncthreads();
  value = reduce_warp(lane < warps ? parts[lane] : none, op);
  __syncthreads();
  return value;
}

}  // namespace lodestone::cuda
