// Sums in double, of anything that has an index and along vectors, always in one order for a given length and dtype.
#pragma once

#include "core/cuda/device/reduce.h"
#include "core/cuda/device/sum_parts.h"
#include "core/cuda/device/values.h"

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

/// part[b] = the sum of f(x[i]...) over the stretches of per_16_bytes elements that are block b's, f in double. A stretch is read N at a
/// time: at once where it lies aligned, else one by one, which changes no bit. What is left over, less than a stretch, is the first
/// block's.
template <int N, class F, class X, class... More>
__global__ void __launch_bounds__(sum_threads) sum_stretches(int64_t n, F f, double* part, const X* x, const More*... more) {
  constexpr int stretch = per_16_bytes<X>;
  static_assert((std::is_same_v<X, More> && ...) && stretch % N == 0);
  __shared__ double parts[warp_size];
  const int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x, whole = n / stretch;
  double sum = 0;
#pragma unroll 4  // loads that are under way at once
  for (int64_t s = first; s < whole; s += static_cast<int64_t>(gridDim.x) * blockDim.x)
#pragma unroll
    for (int begin = 0; begin < stretch; begin += N)
      [&](const auto&... v) {
#pragma unroll
        for (int k = 0; k < N; ++k) sum += f(static_cast<double>(v.at[k])...);
      }(load<N>(x + s * stretch + begin), load<N>(more + s * stretch + begin)...);
  if (const int64_t i = whole * stretch + first; i < n) sum += f(static_cast<double>(x[i]), static_cast<double>(more[i])...);
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

/// How many parts a sum of n elements has.
inline int64_t parts_of(int64_t n) { return std::clamp(blocks_of(n, elements_of_a_part), int64_t{1}, most_parts); }

/// Enqueues total (f64 [1]) = or += alpha * the sum of f(i), i < n. part [most_parts] is overwritten.
template <class F>
void sum(cudaStream_t stream, int64_t n, F f, double alpha, Into into, double* part, double* total) {
  launch(sum_parts<F>, parts_of(n), sum_threads, 0, stream, n, f, part);
  launch(sum_of_parts, 1, sum_threads, 0, stream, parts_of(n), part, alpha, into == Into::add, total);
}

/// The same of f(x[i]...) along vectors of n elements of one wide dtype, f in double.
template <class F, class X, class... More>
void sum_along(cudaStream_t stream, int64_t n, F f, double alpha, Into into, double* part, double* total, const X* x, const More*... more) {
  for_width<X>(aligned_16({x, more...}), [&](auto width) {
    launch(sum_stretches<decltype(width)::value, F, X, More...>, parts_of(n), sum_threads, 0, stream, n, f, part, x, more...);
  });
  launch(sum_of_parts, 1, sum_threads, 0, stream, parts_of(n), part, alpha, into == Into::add, total);
}

}  // namespace lodestone::cuda
