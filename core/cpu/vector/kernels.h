// The vector kernels of this instruction set; what they do stands in table.h.
#pragma once

#include "core/cpu/vector/simd.h"

namespace lodestone::LODE_VEC {

using vec::AttentionHead;
using vec::NormBackward;
using vec::NormForward;
using vec::RowMask;

template <class T>
void gelu_forward(const T* x, T* y, int64_t n);
template <class T>
void gelu_backward(const T* x, const T* dy, T* dx, int64_t n);
template <class T>
void tanh_forward(const T* x, T* y, int64_t n);
template <class T>
void tanh_backward(const T* y, const T* dy, T* dx, int64_t n);
template <class T>
void norm_forward(const NormForward<T>& op, int64_t begin, int64_t end);
template <class T>
void norm_backward(const NormBackward<T>& op, int64_t begin, int64_t end, float* partial);
template <class T>
void dropout(const RowMask& mask, const T* x, T* y, int64_t columns, int64_t begin, int64_t end);
template <class T>
void attention_forward(const AttentionHead<T>& head);
template <class T>
void attention_backward(const AttentionHead<T>& head);
template <class T>
void column_sums(const T* x, int64_t rows, int64_t columns, int64_t begin, int64_t end, float* sums);
template <class T>
void add_bias(const float* x, const float* bias, T* y, int64_t columns, int64_t begin, int64_t end);
template <class T>
void embed_forward(const int32_t* ids, int64_t length, const float* word, const float* position, const float* type, T* y, int64_t columns);
template <class T>
void embed_backward(const int32_t* ids, int64_t length, const T* dy, float* word, float* position, float* type, int64_t columns,
                    int64_t begin, int64_t end);
template <class T>
void pool(const T* x, int64_t rows, float weight, float* y, int64_t columns);
template <class T>
void scale(const float* x, float weight, T* y, int64_t n);
template <class T>
void axpy(float alpha, const T* x, T* y, int64_t n);
template <class T>
void to_float(const T* x, float* y, int64_t n);
template <class T>
void from_float(const float* x, T* y, int64_t n);

int64_t attention_scratch(int64_t length, int64_t size);
void adamw(const vec::AdamW& step, const float* g, float* p, float* m, float* v, int64_t n);
double sum_squares(const float* x, int64_t n);
float log_sum_exp(const float* x, int64_t n, float scale);
void softmax(float* x, int64_t n, float scale, float lse, float weight);
float l2_norm(const float* x, int64_t n);
float dot(const float* x, const float* y, int64_t n);

}  // namespace lodestone::LODE_VEC
