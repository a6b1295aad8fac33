// How a kernel starts: on a device here, on the host's fibers in tests/cuda/emulator/emulator.h. Nothing else starts one.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "core/cuda/cuda_call.h"

#ifdef __CUDACC__

/// Dynamic shared memory of the kernel that it stands in, 16-byte aligned.
#define LODE_DYNAMIC_SHARED(type, name)                         \
  extern __shared__ __align__(16) unsigned char lode_shared_[]; \
  type* const name = reinterpret_cast<type*>(lode_shared_)

namespace lodestone::cuda {

template <class... P, class... A>
void start(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, const A&... arguments) {
  constexpr size_t without_asking = 48 << 10;  // more shared memory must be asked for
  if (shared_bytes > without_asking)
    check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared_bytes)),
          "shared memory of a kernel");
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<P>(arguments)...), "the launch of a kernel");
}

}  // namespace lodestone::cuda

#endif

namespace lodestone::cuda {

constexpr int warp_size = 32;

/// How many blocks of `size` hold n things.
inline int64_t blocks_of(int64_t n, int64_t size) { return (n + size - 1) / size; }

/// Starts `blocks` blocks (any number; a kernel finds its own by blockIdx.x) of `threads` threads, a multiple of 32. Nothing for none.
template <class... P, class... A>
void launch(void (*kernel)(P...), int64_t blocks, int threads, size_t shared_bytes, cudaStream_t stream, const A&... arguments) {
  if (blocks <= 0) return;
  start(kernel, dim3(static_cast<unsigned>(blocks)), dim3(static_cast<unsigned>(threads)), shared_bytes, stream, arguments...);
}

}  // namespace lodestone::cuda
