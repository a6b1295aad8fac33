// Vector bodies: GELU and tanh, forward and backward.
#include "core/cpu/vector/kernels.h"

namespace lodestone::LODE_VEC {

template <class T>
void gelu_forward(const T* x, T* y, int64_t n) {
  sweep(0, n, [&](int64_t i, auto access) {
    const vf v = load(x + i, access);
    store(y + i, v * normal(v).cdf, access);
  });
}

template <class T>
void gelu_backward(const T* x, const T* dy, T* dx, int64_t n) {
  sweep(0, n, [&](int64_t i, auto access) {
    const vf v = load(x + i, access);
    const Normal p = normal(v);
    store(dx + i, load(dy + i, access) * (p.cdf + v * p.bell * 0.3989422804f), access);
  });
}

/// tanh |x| = 1 - 2 / (e^2|x| + 1), and an odd polynomial where that would cancel.
LODE_INLINE vf hyperbolic_tangent(vf x) {
  const vf a = absolute(x), s = x * x;
  vf p = s * -5.772708648e-3f + 2.070037107e-2f;
  p = p * s - 5.375859442e-2f;
  p = p * s + 1.333166739e-1f;
  p = p * s - 3.333329006e-1f;
  const vf small = x + x * s * p;
  const vf large = 1.0f - 2.0f / (exponential(2.0f * a) + 1.0f);
  return a < 0.6f ? small : (x < 0.0f ? -large : large);
}

template <class T>
void tanh_forward(const T* x, T* y, int64_t n) {
  sweep(0, n, [&](int64_t i, auto access) { store(y + i, hyperbolic_tangent(load(x + i, access)), access); });
}

template <class T>
void tanh_backward(const T* y, const T* dy, T* dx, int64_t n) {
  sweep(0, n, [&](int64_t i, auto access) {
    const vf v = load(y + i, access);
    store(dx + i, load(dy + i, access) * (1.0f - v * v), access);
  });
}

template void gelu_forward(const float*, float*, int64_t);
template void gelu_forward(const uint16_t*, uint16_t*, int64_t);
template void gelu_backward(const float*, const float*, float*, int64_t);
template void gelu_backward(const uint16_t*, const uint16_t*, uint16_t*, int64_t);
template void tanh_forward(const float*, float*, int64_t);
template void tanh_forward(const uint16_t*, uint16_t*, int64_t);
template void tanh_backward(const float*, const float*, float*, int64_t);
template void tanh_backward(const uint16_t*, const uint16_t*, uint16_t*, int64_t);

}  // namespace lodestone::LODE_VEC
