// Sums in double of anything that has an index, always in one order for a given length.
#pragma once

#include "core/cuda/device/reduce.h"
#include "core/cuda/device/sum_parts.h"

namespace lodestone::cuda {

constexpr int sum_threads = 256;
constexpr int64_t elements_of_a_part = 4096;

/// part[b] = the sum of f(i) over the indices of block b: each thread its own in their order, then the threads'.
template <class F>
__global__ void __launch_bounds__(sum_threads) sum_parts(int64_t n, F f, double* part) {
  __shared__ double parts[warp_size];
  double sum = 0;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += static_cast<int64_t>(gridDim.x) * blockDim.x)
    sum += f(i);
  sum = reduce_block(sum, Add{}, 0.0, parts);
  if (threadIdx.x == 0) part[blockIdx.x] = sum;
}

/// total = (add ? total : 0) + alpha * the sum of part [n].
static __global__ void __launch_bounds__(sum_threads) sum_of_parts(int64_t n, const double* part, double alpha, bool add, double* total) {
  __shared__ double parts[warp_size];
  double sum = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += part[i];
  sum = reduce_block(sum, Add{}, 0.0, parts);
  if (threadIdx.x == 0) *total = (add ? *total : 0.0) + alpha * sum;
}

/// Whether a sum is added to what the total holds.
enum class Into : uint8_t { set, add };

/// Enqueues total (f64 [1]) = or += alpha * the sum of f(i), i < n. part [most_parts] is overwritten.
template <class F>
void sum(cudaStream_t stream, int64_t n, F f, double alpha, Into into, double* part, double* total) {
  const int64_t wanted = blocks_of(n, elements_of_a_part), parts = wanted < 1 ? 1 : wanted < most_parts ? wanted : most_parts;
  launch(sum_parts<F>, parts, sum_threads, 0, stream, n, f, part);
  launch(sum_of_parts, 1, sum_threads, 0, stream, parts, part, alpha, into == Into::add, total);
}

}  // namespace lodestone::cuda
