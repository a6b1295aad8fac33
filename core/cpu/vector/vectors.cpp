// Vector bodies: the AdamW step, sums of squares, and conversions.
#include "core/cpu/vector/kernels.h"

namespace lodestone::LODE_VEC {

void adamw(const vec::AdamW& step, const float* g, float* p, float* m, float* v, int64_t n) {
  const float keep = 1.0f - step.lr * step.weight_decay, step1 = step.lr * step.correction1;
  sweep(0, n, [&](int64_t i, auto access) {
    const vf d = load(g + i, access) * step.gradient_scale;
    const vf first = load(m + i, access) * step.beta1 + d * (1.0f - step.beta1);
    const vf second = load(v + i, access) * step.beta2 + d * d * (1.0f - step.beta2);
    const vf root = square_root(second * step.correction2);
    store(m + i, first, access);
    store(v + i, second, access);
    store(p + i, load(p + i, access) * keep - step1 * first / (root + step.eps), access);
  });
}

// Two times eight double sums, added in a fixed order.
double sum_squares(const float* x, int64_t n) {
  double sums[16] = {};
  int64_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (int64_t j = 0; j < 16; ++j) {
      const double v = static_cast<double>(x[i + j]);
      sums[j] += v * v;
    }
  for (; i < n; ++i) sums[i % 16] += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  for (int64_t half = 8; half > 0; half /= 2)
    for (int64_t j = 0; j < half; ++j) sums[j] += sums[j + half];
  return sums[0];
}

template <class T>
void scale(const float* x, float weight, T* y, int64_t n) {
  sweep(0, n, [&](int64_t i, auto access) { store(y + i, load(x + i, access) * weight, access); });
}

template <class T>
void axpy(float alpha, const T* x, T* y, int64_t n) {
  sweep(0, n, [&](int64_t i, auto access) { store(y + i, load(y + i, access) + load(x + i, access) * alpha, access); });
}

template <class T>
void to_float(const T* x, float* y, int64_t n) {
  sweep(0, n, [&](int64_t i, auto access) { store(y + i, load(x + i, access), access); });
}

template <class T>
void from_float(const float* x, T* y, int64_t n) {
  sweep(0, n, [&](int64_t i, auto access) { store(y + i, load(x + i, access), access); });
}

template void scale(const float*, float, float*, int64_t);
template void scale(const float*, float, uint16_t*, int64_t);
template void axpy(float, const float*, float*, int64_t);
template void axpy(float, const uint16_t*, uint16_t*, int64_t);
template void to_float(const float*, float*, int64_t);
template void to_float(const uint16_t*, float*, int64_t);
template void from_float(const float*, float*, int64_t);
template void from_float(const float*, uint16_t*, int64_t);

}  // namespace lodestone::LODE_VEC
