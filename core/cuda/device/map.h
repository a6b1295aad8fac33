// Kernels that make each element of a vector from the same element of others.
#pragma once

#include "core/cuda/device/values.h"

namespace lodestone::cuda {

constexpr int map_threads = 256;

/// What is only converted, or moved.
struct Same {
  template <class W>
  __device__ W operator()(W x) const {
    return x;
  }
};

/// y[i] = f(x[i]...) with elements in their wide dtypes. N at a time, which lie aligned where N fills 16 bytes; what is left over, fewer
/// than N, by one thread, one by one.
template <int N, class F, class Y, class... X>
__global__ void __launch_bounds__(map_threads) map_kernel(int64_t n, F f, Y* y, const X*... x) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * N;
  if (i + N <= n) {
    Several<Y, N> out{};
    [&](const auto&... in) {
#pragma unroll
      for (int k = 0; k < N; ++k) out.at[k] = from_wide<Y>(f(to_wide(in.at[k])...));
    }(load<N>(x + i)...);
    store<N>(y + i, out);
  } else {
#pragma unroll 1  // it would cost every thread registers
    for (int64_t k = i; k < n; ++k) y[k] = from_wide<Y>(f(to_wide(x[k])...));
  }
}

/// Enqueues y = f(x...), all of n elements. y may be one of x.
template <class F, class Y, class... X>
void map(cudaStream_t stream, int64_t n, F f, Y* y, const X*... x) {
  for_width<Y, X...>(aligned_16({y, x...}), [&](auto width) {
    constexpr int N = decltype(width)::value;
    launch(map_kernel<N, F, Y, X...>, blocks_of(blocks_of(n, N), map_threads), map_threads, 0, stream, n, f, y, x...);
  });
}

}  // namespace lodestone::cuda
