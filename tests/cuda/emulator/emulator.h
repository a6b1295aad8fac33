// CUDA C++ on the host: what a kernel sees of a GPU, by fibers. Included before a .cu file that is compiled as C++ (-include), which starts
// its kernels by launch() of core/cuda/device/launch.h and takes its dynamic shared memory by LODE_DYNAMIC_SHARED.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <tuple>

#include "core/cuda/cuda_call.h"
#include "tests/cuda/doubles/counts.h"
#include "tests/cuda/doubles/graphs.h"
#include "tests/cuda/doubles/runtime.h"
#include "tests/cuda/doubles/streams.h"
#include "tests/cuda/emulator/fibers.h"

// The toolkit's own words for the host are attributes, which mean nothing here.
#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __forceinline__
#undef __launch_bounds__
#define __global__
#define __device__
#define __host__
#define __shared__ static  // blocks run one after the other
#define __forceinline__ inline
#define __launch_bounds__(...)

#define threadIdx (lodestone::emulator::thread_index())
#define blockIdx (lodestone::emulator::block_index())
#define blockDim (lodestone::emulator::block_dimensions())
#define gridDim (lodestone::emulator::grid_dimensions())

#define LODE_DYNAMIC_SHARED(type, name) type* const name = static_cast<type*>(lodestone::emulator::dynamic_shared())

namespace lodestone::cuda {

/// Enqueued, as on a device; the arguments are copied now.
template <class... P, class... A>
void start(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream, const A&... arguments) {
  check(doubles::result_of("cudaLaunchKernelExC"), "the launch of a kernel");
  check(doubles::counted(stream, doubles::counts().kernels), "the launch of a kernel");
  if (doubles::dropping()) return;
  doubles::enqueue(stream, [=, values = std::tuple<P...>(static_cast<P>(arguments)...)] {
    emulator::run_grid(grid, block, shared_bytes, [&] { std::apply(kernel, values); });
  });
}

}  // namespace lodestone::cuda

inline void __syncthreads() { lodestone::emulator::meet_in_block("__syncthreads"); }
inline void __syncwarp(unsigned mask = ~0u) { lodestone::emulator::meet_in_warp(mask, nullptr, 0, "__syncwarp"); }

namespace lodestone::emulator {

/// What lane `source` brought to this meeting.
template <class T>
T from_lane(unsigned mask, T value, int source, const char* what) {
  const std::byte* const values = meet_in_warp(mask, &value, sizeof value, what);
  std::memcpy(&value, values + static_cast<size_t>(source) * lane_bytes, sizeof value);
  return value;
}

}  // namespace lodestone::emulator

template <class T>
T __shfl_sync(unsigned mask, T value, int source) {
  return lodestone::emulator::from_lane(mask, value, source & 31, "__shfl_sync");
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits) {
  return lodestone::emulator::from_lane(mask, value, lodestone::emulator::lane() ^ bits, "__shfl_xor_sync");
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance) {
  const int here = lodestone::emulator::lane(), there = here + static_cast<int>(distance);
  return lodestone::emulator::from_lane(mask, value, there < 32 ? there : here, "__shfl_down_sync");
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  const std::byte* const values = lodestone::emulator::meet_in_warp(mask, &predicate, sizeof predicate, "__ballot_sync");
  unsigned bits = 0;
  for (int lane = 0; lane < 32; ++lane) {
    int brought = 0;
    if ((mask >> lane & 1u) != 0)
      std::memcpy(&brought, values + static_cast<size_t>(lane) * lodestone::emulator::lane_bytes, sizeof brought);
    bits |= static_cast<unsigned>(brought != 0) << lane;
  }
  return bits;
}

inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(uint64_t{a} * b >> 32); }
/// Bytes chosen from the eight of b and a, a's the lower ones, by the lower three bits of each of the four lowest digits of `choice`.
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned choice) {
  const uint64_t both = uint64_t{b} << 32 | a;
  unsigned chosen = 0;
  for (unsigned i = 0; i < 4; ++i) chosen |= static_cast<unsigned>(both >> (8 * (choice >> 4 * i & 7)) & 0xff) << 8 * i;
  return chosen;
}
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
template <class T>
T __ldg(const T* p) {
  return *p;
}
[[noreturn]] inline void __trap() { lodestone::emulator::fail("a kernel found what cannot be"); }

// What it declares for devices needs all of the above.
#include "tests/cuda/emulator/ptx.h"
