// AdamW over flat vectors. Bytes: 7 elements each (reads g, p, m, v; writes p, m, v); FLOPs: 14 an element.
#include <cmath>

#include "core/checks.h"
#include "core/cuda/cuda_backend.h"
#include "core/cuda/device/values.h"

namespace lodestone {

namespace {

using namespace cuda;

constexpr int block_threads = 256;

/// A step's numbers in the dtype of the vectors.
template <class T>
struct Step {
  T lr, beta1, beta2, eps, weight_decay, gradient_scale, correction1, correction2;

  explicit Step(const AdamWStep& s)
      : lr(static_cast<T>(s.lr)),
        beta1(static_cast<T>(s.beta1)),
        beta2(static_cast<T>(s.beta2)),
        eps(static_cast<T>(s.eps)),
        weight_decay(static_cast<T>(s.weight_decay)),
        gradient_scale(static_cast<T>(s.gradient_scale)),
        correction1(static_cast<T>(1 / (1 - std::pow(s.beta1, static_cast<double>(s.t))))),
        correction2(static_cast<T>(1 / (1 - std::pow(s.beta2, static_cast<double>(s.t))))) {}

  __device__ void apply(T g, T& p, T& m, T& v) const {
    const T d = gradient_scale * g;
    m = beta1 * m + (T{1} - beta1) * d;
    v = beta2 * v + (T{1} - beta2) * d * d;
    p -= lr * (m * correction1 / (sqrt(v * correction2) + eps) + weight_decay * p);
  }
};

template <int N, class T>
__global__ void __launch_bounds__(block_threads) adamw_kernel(int64_t n, Step<T> step, const T* g, T* p, T* m, T* v) {
  const int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * N;
  if (i + N <= n) {
    const Several<T, N> gradient = load<N>(g + i);
    Several<T, N> param = load<N>(p + i), first = load<N>(m + i), second = load<N>(v + i);
#pragma unroll
    for (int k = 0; k < N; ++k) step.apply(gradient.at[k], param.at[k], first.at[k], second.at[k]);
    store<N>(p + i, param);
    store<N>(m + i, first);
    store<N>(v + i, second);
  } else {
#pragma unroll 1
    for (int64_t k = i; k < n; ++k) step.apply(g[k], p[k], m[k], v[k]);
  }
}

}  // namespace

void CudaBackend::adamw(const AdamWStep& step, ConstTensor g, Tensor p, Tensor m, Tensor v) {
  checks::adamw(step, g, p, m, v);
  for_wide("adamw", g.dtype(), [&]<class T>(T) {
    for_width<T>(aligned_16(g, p, m, v), [&](auto width) {
      constexpr int N = decltype(width)::value;
      launch(adamw_kernel<N, T>, blocks_of(blocks_of(g.count(), N), block_threads), block_threads, 0, enqueue("adamw", g), g.count(),
             Step<T>(step), elements<T>(g), elements<T>(p), elements<T>(m), elements<T>(v));
    });
  });
}

}  // namespace lodestone
