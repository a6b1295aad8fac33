// The table of vector kernels: one instance for each instruction set, chosen at run time. Plain pointers only.
#pragma once

#include <cstdint>

// Everything behind this table is compiled several times. So that no generic code ever links against a body built for
// another processor, these files use no inline function of other headers.
namespace lodestone::vec {

/// Which rows belong to which text, and what names their dropout masks. threshold == 0 drops nothing.
struct RowMask {
  uint64_t key = 0;
  uint32_t threshold = 0;
  float keep = 1;                    // factor of kept elements
  const uint64_t* texts = nullptr;   // [B]
  const int64_t* offsets = nullptr;  // [B+1]
  int64_t count = 0;                 // B
};

/// Operands of (residual) layer normalisation over rows of `columns` elements. T is float, or uint16_t for bf16.
template <class T>
struct NormForward {
  const T* residual = nullptr;  // null: sum is branch itself and is not written
  const T* branch = nullptr;
  const float *gamma = nullptr, *beta = nullptr;
  T *sum = nullptr, *y = nullptr;
  float *mean = nullptr, *rstd = nullptr;
  float eps = 0;
  int64_t columns = 0;
  RowMask mask;
};

template <class T>
struct NormBackward {
  const T *dy = nullptr, *sum = nullptr;
  const float *gamma = nullptr, *mean = nullptr, *rstd = nullptr;
  T* d_sum = nullptr;
  T* d_branch = nullptr;  // null: no dropped copy is wanted
  int64_t columns = 0;
  RowMask mask;
};

/// One head of one text. Rows of q and of its gradient are q_stride apart, of k, v and theirs kv_stride; rows of ctx and d_ctx H, of
/// lse A. Where there is a mask for each row, a row sees the positions whose bits are not set, and never its own.
template <class T>
struct AttentionHead {
  const T *q, *k, *v;
  T* ctx;  // forward writes these two
  float* lse;
  const T *saved_ctx, *d_ctx;  // backward reads these three
  const float* saved_lse;
  T *dq, *dk, *dv;  // and writes these
  int64_t length, size, q_stride, kv_stride, ctx_stride, lse_stride;
  const uint64_t* mask_bits;   // null: every row sees all
  const uint8_t* mask_of_row;  // [T] row i has the words from mask_bits + mask_words mask_of_row[i]
  int64_t mask_words;
  float scale;  // 1 / sqrt(D)
  uint64_t key, text;
  uint32_t head, threshold;
  float keep;
  float* scratch;  // attention_scratch(T, D) floats, 64-byte aligned
};

/// Bodies that exist for float and bf16 storage; arithmetic is f32. Ranges of rows or elements are half-open.
template <class T>
struct Kernels {
  void (*gelu_forward)(const T* x, T* y, int64_t n);
  void (*gelu_backward)(const T* x, const T* dy, T* dx, int64_t n);
  void (*tanh_forward)(const T* x, T* y, int64_t n);
  void (*tanh_backward)(const T* y, const T* dy, T* dx, int64_t n);
  void (*norm_forward)(const NormForward<T>& op, int64_t begin, int64_t end);
  /// partial [2, columns]: the share of these rows in d_gamma and d_beta (set).
  void (*norm_backward)(const NormBackward<T>& op, int64_t begin, int64_t end, float* partial);
  void (*dropout)(const RowMask& mask, const T* x, T* y, int64_t columns, int64_t begin, int64_t end);
  void (*attention_forward)(const AttentionHead<T>& head);
  void (*attention_backward)(const AttentionHead<T>& head);
  /// sums[j] += over rows x[i, j], for columns [begin, end) of x [rows, columns].
  void (*column_sums)(const T* x, int64_t rows, int64_t columns, int64_t begin, int64_t end, float* sums);
  /// y[i, :] = x[i, :] + bias; x [rows, columns]; bias may be null; x may be y.
  void (*add_bias)(const float* x, const float* bias, T* y, int64_t columns, int64_t begin, int64_t end);
  /// y[row, :] = word[id] + position[t] + type.
  void (*embed_forward)(const int32_t* ids, int64_t length, const float* word, const float* position, const float* type, T* y,
                        int64_t columns);
  /// Adds columns [begin, end) of dy [length, columns] into the rows named by ids, into position and into type.
  void (*embed_backward)(const int32_t* ids, int64_t length, const T* dy, float* word, float* position, float* type, int64_t columns,
                         int64_t begin, int64_t end);
  /// y [columns] = weight * sum of the rows of x [rows, columns].
  void (*pool)(const T* x, int64_t rows, float weight, float* y, int64_t columns);
  void (*scale)(const float* x, float weight, T* y, int64_t n);  // y = weight x
  void (*axpy)(float alpha, const T* x, T* y, int64_t n);        // y += alpha x
  void (*to_float)(const T* x, float* y, int64_t n);
  void (*from_float)(const float* x, T* y, int64_t n);
};

struct AdamW {
  float lr, beta1, beta2, eps, weight_decay, gradient_scale, correction1, correction2;
};

struct Table {
  const char* name;
  Kernels<float> f32;
  Kernels<uint16_t> bf16;
  int64_t (*attention_scratch)(int64_t length, int64_t size);
  void (*adamw)(const AdamW& step, const float* g, float* p, float* m, float* v, int64_t n);
  double (*sum_squares)(const float* x, int64_t n);
  float (*log_sum_exp)(const float* x, int64_t n, float scale);                // of one row
  void (*softmax)(float* x, int64_t n, float scale, float lse, float weight);  // of one row
  float (*l2_norm)(const float* x, int64_t n);
  float (*dot)(const float* x, const float* y, int64_t n);
};

}  // namespace lodestone::vec

namespace lodestone::vec_v2 {
const vec::Table& table();
}
namespace lodestone::vec_v3 {
const vec::Table& table();
}
namespace lodestone::vec_v4 {
const vec::Table& table();
}
