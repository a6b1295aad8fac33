// What the kernels of attention are told: where queries, keys and values lie, which of them a row may see, and where gradients go.
#pragma once

#include "core/cuda/device/values.h"

namespace lodestone::cuda {

/// Queries, keys and values, each [S, its stride] from its own first column on, head-major; and what a row may see.
template <class T>
struct AttentionInput {
  const T *q = nullptr, *k = nullptr, *v = nullptr;
  int64_t q_stride = 0, kv_stride = 0;
  int64_t heads = 0, size = 0;     // A, D
  const uint64_t* bits = nullptr;  // null: every row sees every position
  const int64_t* first = nullptr;
  const uint8_t* of_row = nullptr;

  __device__ wide_t<T> scale() const { return wide_t<T>{1} / sqrt(static_cast<wide_t<T>>(size)); }
  __device__ const T* query(int64_t s, int64_t a) const { return q + s * q_stride + a * size; }
  __device__ const T* key(int64_t s, int64_t a) const { return k + s * kv_stride + a * size; }
  __device__ const T* value(int64_t s, int64_t a) const { return v + s * kv_stride + a * size; }
  /// The words of the mask of row i of a text that has `length` tokens and begins at token `begin`. Only where there are bits.
  __device__ const uint64_t* hidden(int64_t text, int64_t begin, int64_t length, int64_t i) const {
    return bits + first[text] + (length + 63) / 64 * of_row[begin + i];
  }
};

/// What the way back reads beside the input: [S,H] each, and lse [S,A].
template <class T>
struct AttentionOutput {
  const T *ctx, *d_ctx;
  const wide_t<T>* lse;
};

/// Where the gradients go: of queries, and of keys and values, with the strides of their rows.
template <class T>
struct AttentionGradients {
  T *q, *k, *v;
  int64_t q_stride, kv_stride;
};

}  // namespace lodestone::cuda
