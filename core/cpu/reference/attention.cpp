// Reference loops: multi-head attention over ragged texts.
#include <algorithm>
#include <cmath>
#include <vector>

#include "core/cpu/checks.h"
#include "core/cpu/reference/reference_backend.h"
#include "core/cpu/reference/views.h"

namespace lodestone {

using reference::for_dtype;
using reference::Mask;
using reference::Matrix;
using reference::read;
using reference::write;

namespace {

/// One head of one text inside [S, width]: row t, element d.
template <class T>
struct Head {
  T* data;
  int64_t width;
  T& operator()(int64_t t, int64_t d) const { return data[t * width + d]; }
};

template <class T>
Head<T> head_of(Matrix<T> m, int64_t first_row, int64_t first_column) {
  return {m.row(first_row) + first_column, m.columns};
}

template <class T>
T dot(Head<const T> a, int64_t i, Head<const T> b, int64_t j, int64_t size) {
  T sum = 0;
  for (int64_t d = 0; d < size; ++d) sum += a(i, d) * b(j, d);
  return sum;
}

}  // namespace

// p_ij = exp(q_i k_j / sqrt(D) - lse_i);  ctx_i = sum_j z_ij p_ij v_j with the dropout factors z.
void ReferenceBackend::attention_forward(const TokenBatch& tokens, ConstTensor qkv, int64_t heads, Dropout dropout, Tensor ctx, Tensor lse) {
  checks::attention("attention_forward", tokens, qkv, heads, dropout, ctx, lse);
  for_dtype("attention_forward", qkv.dtype(), [&]<class T>(T) {
    const int64_t hidden = qkv.dim(1) / 3, size = hidden / heads;
    const T scale = T{1} / std::sqrt(static_cast<T>(size));
    const auto in = read<T>(qkv);
    const auto out = write<T>(ctx), statistic = write<T>(lse);
    const Mask<T> mask(dropout);
    for (int64_t b = 0; b < tokens.texts(); ++b)
      for (int64_t a = 0; a < heads; ++a) {
        const int64_t first = tokens.offsets[static_cast<size_t>(b)], length = tokens.length(b);
        const auto q = head_of(in, first, a * size), k = head_of(in, first, hidden + a * size), v = head_of(in, first, 2 * hidden + a * size);
        const auto c = head_of(out, first, a * size);
        std::vector<T> score(static_cast<size_t>(length));
        for (int64_t i = 0; i < length; ++i) {
          for (int64_t j = 0; j < length; ++j) score[static_cast<size_t>(j)] = scale * dot(q, i, k, j, size);
          const T top = *std::max_element(score.begin(), score.end());
          T sum = 0;
          for (const T x : score) sum += std::exp(x - top);
          const T log_sum = top + std::log(sum);
          for (int64_t d = 0; d < size; ++d) c(i, d) = 0;
          for (int64_t j = 0; j < length; ++j) {
            const T p = std::exp(score[static_cast<size_t>(j)] - log_sum) * mask(tokens, b, a << 16 | i, j);
            for (int64_t d = 0; d < size; ++d) c(i, d) += p * v(j, d);
          }
          statistic(first + i, a) = log_sum;
        }
      }
  });
}

// dv_j = sum_i z_ij p_ij dctx_i;  ds_ij = p_ij (z_ij dctx_i v_j - dctx_i ctx_i);
// dq_i = sum_j ds_ij k_j / sqrt(D);  dk_j = sum_i ds_ij q_i / sqrt(D).
void ReferenceBackend::attention_backward(const TokenBatch& tokens, ConstTensor qkv, ConstTensor ctx, ConstTensor lse, ConstTensor d_ctx,
                                          int64_t heads, Dropout dropout, Tensor d_qkv) {
  checks::attention("attention_backward", tokens, qkv, heads, dropout, ctx, lse);
  checks::same("attention_backward", "d_ctx", ctx, d_ctx);
  checks::same("attention_backward", "d_qkv", qkv, d_qkv);
  for_dtype("attention_backward", qkv.dtype(), [&]<class T>(T) {
    const int64_t hidden = qkv.dim(1) / 3, size = hidden / heads;
    const T scale = T{1} / std::sqrt(static_cast<T>(size));
    const auto in = read<T>(qkv), context = read<T>(ctx), statistic = read<T>(lse), d_out = read<T>(d_ctx);
    const auto d_in = write<T>(d_qkv);
    const Mask<T> mask(dropout);
    std::fill_n(d_in.data, d_qkv.count(), T{0});
    for (int64_t b = 0; b < tokens.texts(); ++b)
      for (int64_t a = 0; a < heads; ++a) {
        const int64_t first = tokens.offsets[static_cast<size_t>(b)], length = tokens.length(b);
        const auto q = head_of(in, first, a * size), k = head_of(in, first, hidden + a * size), v = head_of(in, first, 2 * hidden + a * size);
        const auto c = head_of(context, first, a * size), dc = head_of(d_out, first, a * size);
        const auto dq = head_of(d_in, first, a * size), dk = head_of(d_in, first, hidden + a * size), dv = head_of(d_in, first, 2 * hidden + a * size);
        for (int64_t i = 0; i < length; ++i) {
          const T delta = dot(dc, i, c, i, size);
          for (int64_t j = 0; j < length; ++j) {
            const T p = std::exp(scale * dot(q, i, k, j, size) - statistic(first + i, a));
            const T z = mask(tokens, b, a << 16 | i, j);
            const T ds = p * (z * dot(dc, i, v, j, size) - delta) * scale;
            for (int64_t d = 0; d < size; ++d) {
              dv(j, d) += z * p * dc(i, d);
              dq(i, d) += ds * k(j, d);
              dk(j, d) += ds * q(i, d);
            }
          }
        }
      }
  });
}

}  // namespace lodestone
