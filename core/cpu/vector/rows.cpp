// Vector bodies: embeddings, pooling, bias, column sums and the row statistics of losses.
#include "core/cpu/vector/kernels.h"

namespace lodestone::LODE_VEC {

// Rows are taken eight at a time, so that the sums pass through memory once for eight rows; the order is fixed.
template <class T>
void column_sums(const T* x, int64_t rows, int64_t columns, int64_t begin, int64_t end, float* sums) {
  int64_t s = 0;
  for (; s + 8 <= rows; s += 8) {
    const T* block = x + s * columns;
    sweep(begin, end, [&](int64_t i, auto access) {
      vf total = load(block + i, access);
      for (int64_t r = 1; r < 8; ++r) total += load(block + r * columns + i, access);
      store(sums + i, load(sums + i, access) + total, access);
    });
  }
  for (; s < rows; ++s) {
    const T* row = x + s * columns;
    sweep(begin, end, [&](int64_t i, auto access) { store(sums + i, load(sums + i, access) + load(row + i, access), access); });
  }
}

template <class T>
void add_bias(const float* x, const float* bias, T* y, int64_t columns, int64_t begin, int64_t end) {
  if (bias == nullptr) {
    sweep(begin * columns, end * columns, [&](int64_t i, auto access) { store(y + i, load(x + i, access), access); });
    return;
  }
  for (int64_t s = begin; s < end; ++s) {
    const float* in = x + s * columns;
    T* out = y + s * columns;
    sweep(0, columns, [&](int64_t i, auto access) { store(out + i, load(in + i, access) + load(bias + i, access), access); });
  }
}

template <class T>
void embed_forward(const int32_t* ids, int64_t length, const float* word, const float* position, const float* type, T* y, int64_t columns) {
  for (int64_t t = 0; t < length; ++t) {
    const float *w = word + ids[t] * columns, *p = position + t * columns;
    T* out = y + t * columns;
    sweep(0, columns,
          [&](int64_t i, auto access) { store(out + i, load(w + i, access) + load(p + i, access) + load(type + i, access), access); });
  }
}

template <class T>
void embed_backward(const int32_t* ids, int64_t length, const T* dy, float* word, float* position, float* type, int64_t columns,
                    int64_t begin, int64_t end) {
  for (int64_t t = 0; t < length; ++t) {
    const T* d = dy + t * columns;
    float *w = word + ids[t] * columns, *p = position + t * columns;
    sweep(begin, end, [&](int64_t i, auto access) {
      const vf v = load(d + i, access);
      store(w + i, load(w + i, access) + v, access);
      store(p + i, load(p + i, access) + v, access);
      store(type + i, load(type + i, access) + v, access);
    });
  }
}

template <class T>
void pool(const T* x, int64_t rows, float weight, float* y, int64_t columns) {
  sweep(0, columns, [&](int64_t i, auto access) {
    vf total{};
    for (int64_t t = 0; t < rows; ++t) total += load(x + t * columns + i, access);
    store(y + i, total * weight, access);
  });
}

float log_sum_exp(const float* x, int64_t n, float scale) {
  vf tops = splat(-__builtin_inff());
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) tops = larger(load(x + i) * scale, tops);
  float top = max_of(tops);
  for (; i < n; ++i) top = x[i] * scale > top ? x[i] * scale : top;
  if (__builtin_isinf(top)) {  // no column, or all of them masked: the sum is exp(-inf)
    for (i = 0; i < n; ++i)
      if (__builtin_isnan(x[i])) return x[i];
    return top;
  }
  vf total{};
  sweep(0, n, [&](int64_t j, auto access) { total += within(exponential(load(x + j, access) * scale - top), access); });
  return top + __builtin_logf(sum_of(total));
}

void softmax(float* x, int64_t n, float scale, float lse, float weight) {
  sweep(0, n, [&](int64_t i, auto access) { store(x + i, exponential(load(x + i, access) * scale - lse) * weight, access); });
}

float l2_norm(const float* x, int64_t n) { return __builtin_sqrtf(dot(x, x, n)); }

float dot(const float* x, const float* y, int64_t n) {
  vf total{};
  sweep(0, n, [&](int64_t i, auto access) { total += load(x + i, access) * load(y + i, access); });
  return sum_of(total);
}

template void column_sums(const float*, int64_t, int64_t, int64_t, int64_t, float*);
template void column_sums(const uint16_t*, int64_t, int64_t, int64_t, int64_t, float*);
template void add_bias(const float*, const float*, float*, int64_t, int64_t, int64_t);
template void add_bias(const float*, const float*, uint16_t*, int64_t, int64_t, int64_t);
template void embed_forward(const int32_t*, int64_t, const float*, const float*, const float*, float*, int64_t);
template void embed_forward(const int32_t*, int64_t, const float*, const float*, const float*, uint16_t*, int64_t);
template void embed_backward(const int32_t*, int64_t, const float*, float*, float*, float*, int64_t, int64_t, int64_t);
template void embed_backward(const int32_t*, int64_t, const uint16_t*, float*, float*, float*, int64_t, int64_t, int64_t);
template void pool(const float*, int64_t, float, float*, int64_t);
template void pool(const uint16_t*, int64_t, float, float*, int64_t);

}  // namespace lodestone::LODE_VEC
