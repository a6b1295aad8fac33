// Reference loops: multi-head attention over ragged texts, of one stream, and of two streams under masks.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/checks.h"
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

/// Queries, keys and values [T,D] of one head of one text.
template <class T>
struct Operands {
  Head<const T> q, k, v;
  int64_t length, size;
  T scale() const { return T{1} / std::sqrt(static_cast<T>(size)); }
};

// p_ij = exp(q_i k_j / sqrt(D) - lse_i) over the j that i sees;  ctx_i = sum_j z_ij p_ij v_j with the dropout factors z.
template <class T, class Sees, class Factor>
void forward_head(const Operands<T>& in, Sees sees, Factor z, Head<T> c, Head<T> lse) {
  const T nothing = -std::numeric_limits<T>::infinity();
  std::vector<T> score(static_cast<size_t>(in.length));
  for (int64_t i = 0; i < in.length; ++i) {
    T top = nothing;
    for (int64_t j = 0; j < in.length; ++j) {
      T& s = score[static_cast<size_t>(j)];
      s = sees(i, j) ? in.scale() * dot(in.q, i, in.k, j, in.size) : nothing;
      if (s > top) top = s;
    }
    T sum = 0;
    for (const T s : score) sum += top == nothing ? T{0} : std::exp(s - top);
    const T log_sum = top == nothing ? T{0} : top + std::log(sum);
    for (int64_t d = 0; d < in.size; ++d) c(i, d) = 0;
    for (int64_t j = 0; j < in.length; ++j) {
      if (!sees(i, j)) continue;
      const T p = std::exp(score[static_cast<size_t>(j)] - log_sum) * z(i, j);
      for (int64_t d = 0; d < in.size; ++d) c(i, d) += p * in.v(j, d);
    }
    lse(i, 0) = log_sum;
  }
}

// dv_j = sum_i z_ij p_ij dctx_i;  ds_ij = p_ij (z_ij dctx_i v_j - dctx_i ctx_i);
// dq_i = sum_j ds_ij k_j / sqrt(D);  dk_j = sum_i ds_ij q_i / sqrt(D). dq, dk and dv hold zeros before.
template <class T, class Sees, class Factor>
void backward_head(const Operands<T>& in, Sees sees, Factor z, Head<const T> c, Head<const T> lse, Head<const T> dc, Head<T> dq, Head<T> dk,
                   Head<T> dv) {
  for (int64_t i = 0; i < in.length; ++i) {
    const T delta = dot(dc, i, c, i, in.size);
    for (int64_t j = 0; j < in.length; ++j) {
      if (!sees(i, j)) continue;
      const T p = std::exp(in.scale() * dot(in.q, i, in.k, j, in.size) - lse(i, 0));
      const T factor = z(i, j);
      const T ds = p * (factor * dot(dc, i, in.v, j, in.size) - delta) * in.scale();
      for (int64_t d = 0; d < in.size; ++d) {
        dv(j, d) += factor * p * dc(i, d);
        dq(i, d) += ds * in.k(j, d);
        dk(j, d) += ds * in.q(i, d);
      }
    }
  }
}

/// body(text, head, its first row) for every head of every text.
template <class Body>
void for_heads(const TokenBatch& tokens, int64_t heads, Body body) {
  for (int64_t b = 0; b < tokens.texts(); ++b)
    for (int64_t a = 0; a < heads; ++a) body(b, a, tokens.offsets[static_cast<size_t>(b)]);
}

constexpr auto sees_all = [](int64_t, int64_t) { return true; };

/// Whether row i of text b sees position j.
auto sees_unmasked(const KeyMasks& masks, const TokenBatch& tokens, int64_t b) {
  return [&masks, first = tokens.offsets[static_cast<size_t>(b)], length = tokens.length(b), b](int64_t i, int64_t j) {
    return i != j && (masks.row(b, first, length, i)[j / 64] >> (j % 64) & 1) == 0;
  };
}

}  // namespace

void ReferenceBackend::attention_forward(const DeviceTexts& texts, ConstTensor qkv, int64_t heads, Dropout dropout, Tensor ctx,
                                         Tensor lse) {
  checks::attention("attention_forward", texts, qkv, heads, dropout, ctx, lse);
  const TokenBatch tokens = on_host(texts);
  for_dtype("attention_forward", qkv.dtype(), [&]<class T>(T) {
    const int64_t hidden = qkv.dim(1) / 3, size = hidden / heads;
    const auto in = read<T>(qkv);
    const auto out = write<T>(ctx), statistic = write<T>(lse);
    const Mask<T> mask(dropout);
    for_heads(tokens, heads, [&](int64_t b, int64_t a, int64_t first) {
      const Operands<T> operands{head_of(in, first, a * size), head_of(in, first, hidden + a * size),
                                 head_of(in, first, 2 * hidden + a * size), tokens.length(b), size};
      forward_head(
          operands, sees_all, [&](int64_t i, int64_t j) { return mask(tokens, b, a << 16 | i, j); }, head_of(out, first, a * size),
          head_of(statistic, first, a));
    });
  });
}

void ReferenceBackend::attention_backward(const DeviceTexts& texts, ConstTensor qkv, ConstTensor ctx, ConstTensor lse, ConstTensor d_ctx,
                                          int64_t heads, Dropout dropout, Tensor d_qkv) {
  checks::attention("attention_backward", texts, qkv, heads, dropout, ctx, lse);
  checks::same("attention_backward", "d_ctx", ctx, d_ctx);
  checks::same("attention_backward", "d_qkv", qkv, d_qkv);
  const TokenBatch tokens = on_host(texts);
  for_dtype("attention_backward", qkv.dtype(), [&]<class T>(T) {
    const int64_t hidden = qkv.dim(1) / 3, size = hidden / heads;
    const auto in = read<T>(qkv), context = read<T>(ctx), statistic = read<T>(lse), d_out = read<T>(d_ctx);
    const auto d_in = write<T>(d_qkv);
    const Mask<T> mask(dropout);
    std::fill_n(d_in.data, d_qkv.count(), T{0});
    for_heads(tokens, heads, [&](int64_t b, int64_t a, int64_t first) {
      const Operands<T> operands{head_of(in, first, a * size), head_of(in, first, hidden + a * size),
                                 head_of(in, first, 2 * hidden + a * size), tokens.length(b), size};
      backward_head(
          operands, sees_all, [&](int64_t i, int64_t j) { return mask(tokens, b, a << 16 | i, j); }, head_of(context, first, a * size),
          head_of(statistic, first, a), head_of(d_out, first, a * size), head_of(d_in, first, a * size),
          head_of(d_in, first, hidden + a * size), head_of(d_in, first, 2 * hidden + a * size));
    });
  });
}

void ReferenceBackend::masked_attention_forward(const DeviceTexts& texts, const DeviceMasks& masks, ConstTensor q, ConstTensor kv,
                                                int64_t heads, Dropout dropout, Tensor ctx, Tensor lse) {
  const char* op = "masked_attention_forward";
  checks::masked_attention(op, texts, masks, q, kv, heads, dropout, ctx, lse);
  const TokenBatch tokens = on_host(texts);
  const KeyMasks key_masks = on_host(masks);
  for_dtype(op, q.dtype(), [&]<class T>(T) {
    const int64_t hidden = q.dim(1), size = hidden / heads;
    const auto queries = read<T>(q), others = read<T>(kv);
    const auto out = write<T>(ctx), statistic = write<T>(lse);
    const Mask<T> mask(dropout);
    for_heads(tokens, heads, [&](int64_t b, int64_t a, int64_t first) {
      const Operands<T> operands{head_of(queries, first, a * size), head_of(others, first, a * size),
                                 head_of(others, first, hidden + a * size), tokens.length(b), size};
      forward_head(
          operands, sees_unmasked(key_masks, tokens, b), [&](int64_t i, int64_t j) { return mask(tokens, b, a << 16 | i, j); },
          head_of(out, first, a * size), head_of(statistic, first, a));
    });
  });
}

void ReferenceBackend::masked_attention_backward(const DeviceTexts& texts, const DeviceMasks& masks, ConstTensor q, ConstTensor kv,
                                                 ConstTensor ctx, ConstTensor lse, ConstTensor d_ctx, int64_t heads, Dropout dropout,
                                                 Tensor d_q, Tensor d_kv) {
  const char* op = "masked_attention_backward";
  checks::masked_attention(op, texts, masks, q, kv, heads, dropout, ctx, lse);
  checks::same(op, "d_ctx", ctx, d_ctx);
  checks::same(op, "d_q", q, d_q);
  checks::same(op, "d_kv", kv, d_kv);
  const TokenBatch tokens = on_host(texts);
  const KeyMasks key_masks = on_host(masks);
  for_dtype(op, q.dtype(), [&]<class T>(T) {
    const int64_t hidden = q.dim(1), size = hidden / heads;
    const auto queries = read<T>(q), others = read<T>(kv), context = read<T>(ctx), statistic = read<T>(lse), d_out = read<T>(d_ctx);
    const auto d_queries = write<T>(d_q), d_others = write<T>(d_kv);
    const Mask<T> mask(dropout);
    std::fill_n(d_queries.data, d_q.count(), T{0});
    std::fill_n(d_others.data, d_kv.count(), T{0});
    for_heads(tokens, heads, [&](int64_t b, int64_t a, int64_t first) {
      const Operands<T> operands{head_of(queries, first, a * size), head_of(others, first, a * size),
                                 head_of(others, first, hidden + a * size), tokens.length(b), size};
      backward_head(
          operands, sees_unmasked(key_masks, tokens, b), [&](int64_t i, int64_t j) { return mask(tokens, b, a << 16 | i, j); },
          head_of(context, first, a * size), head_of(statistic, first, a), head_of(d_out, first, a * size),
          head_of(d_queries, first, a * size), head_of(d_others, first, a * size), head_of(d_others, first, hidden + a * size));
    });
  });
}

}  // namespace lodestone
