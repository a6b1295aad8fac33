// CpuBackend: what works on whole texts and sentence vectors - attention, pooling, L2 normalisation, row statistics.
#include <cmath>

#include "core/cpu/checks.h"
#include "core/cpu/cpu_backend.h"
#include "core/cpu/storage.h"

namespace lodestone {

namespace {

constexpr float smallest_norm = 1e-12f;

int64_t longest(const TokenBatch& tokens) {
  int64_t length = 0;
  for (int64_t b = 0; b < tokens.texts(); ++b) length = std::max(length, tokens.length(b));
  return length;
}

/// The operands that forward and backward share for head a of text b.
template <class T>
vec::AttentionHead<T> head_of(const TokenBatch& tokens, ConstTensor qkv, int64_t heads, const Dropout& dropout, int64_t b, int64_t a,
                              float* scratch) {
  const int64_t hidden = qkv.dim(1) / 3, size = hidden / heads, first = tokens.offsets[static_cast<size_t>(b)];
  const T* q = elements<T>(qkv) + first * 3 * hidden + a * size;
  const uint32_t threshold = dropout_threshold(dropout.p);
  vec::AttentionHead<T> h{};
  h.q = q;
  h.k = q + hidden;
  h.v = q + 2 * hidden;
  h.length = tokens.length(b);
  h.size = size;
  h.qkv_stride = 3 * hidden;
  h.ctx_stride = hidden;
  h.lse_stride = heads;
  h.scale = 1.0f / std::sqrt(static_cast<float>(size));
  h.key = dropout.key.value();
  h.text = threshold == 0 ? 0 : tokens.keys[static_cast<size_t>(b)];
  h.head = static_cast<uint32_t>(a);
  h.threshold = threshold;
  h.keep = static_cast<float>(1.0 / (1.0 - threshold / 65536.0));
  h.scratch = scratch;
  return h;
}

}  // namespace

void CpuBackend::attention_forward(const TokenBatch& tokens, ConstTensor qkv, int64_t heads, Dropout dropout, Tensor ctx, Tensor lse) {
  if (qkv.dtype() == DType::f64) return reference_.attention_forward(tokens, qkv, heads, dropout, ctx, lse);
  checks::attention("attention_forward", tokens, qkv, heads, dropout, ctx, lse);
  const int64_t hidden = ctx.dim(1), size = hidden / heads, need = table_.attention_scratch(longest(tokens), size);
  float* scratch = scratch_.take<float>(need * threads());
  by_storage(table_, qkv.dtype(), [&]<class T>(const vec::Kernels<T>& kernels, T) {
    parallel_.items(tokens.texts() * heads, [&](int64_t item, int thread) {
      const int64_t b = item / heads, a = item % heads, first = tokens.offsets[static_cast<size_t>(b)];
      auto h = head_of<T>(tokens, qkv, heads, dropout, b, a, scratch + need * thread);
      h.ctx = elements<T>(ctx) + first * hidden + a * size;
      h.lse = elements<float>(lse) + first * heads + a;
      kernels.attention_forward(h);
    });
  });
}

void CpuBackend::attention_backward(const TokenBatch& tokens, ConstTensor qkv, ConstTensor ctx, ConstTensor lse, ConstTensor d_ctx,
                                    int64_t heads, Dropout dropout, Tensor d_qkv) {
  if (qkv.dtype() == DType::f64) return reference_.attention_backward(tokens, qkv, ctx, lse, d_ctx, heads, dropout, d_qkv);
  const char* op = "attention_backward";
  checks::attention(op, tokens, qkv, heads, dropout, ctx, lse);
  checks::same(op, "d_ctx", ctx, d_ctx);
  checks::same(op, "d_qkv", qkv, d_qkv);
  const int64_t hidden = ctx.dim(1), size = hidden / heads, need = table_.attention_scratch(longest(tokens), size);
  float* scratch = scratch_.take<float>(need * threads());
  by_storage(table_, qkv.dtype(), [&]<class T>(const vec::Kernels<T>& kernels, T) {
    parallel_.items(tokens.texts() * heads, [&](int64_t item, int thread) {
      const int64_t b = item / heads, a = item % heads, first = tokens.offsets[static_cast<size_t>(b)];
      auto h = head_of<T>(tokens, qkv, heads, dropout, b, a, scratch + need * thread);
      h.saved_ctx = elements<T>(ctx) + first * hidden + a * size;
      h.saved_lse = elements<float>(lse) + first * heads + a;
      h.d_ctx = elements<T>(d_ctx) + first * hidden + a * size;
      h.dq = elements<T>(d_qkv) + first * 3 * hidden + a * size;
      h.dk = h.dq + hidden;
      h.dv = h.dq + 2 * hidden;
      kernels.attention_backward(h);
    });
  });
}

void CpuBackend::pool_forward(const TokenBatch& tokens, ConstTensor x, Pooling pooling, Tensor y) {
  if (x.dtype() == DType::f64) return reference_.pool_forward(tokens, x, pooling, y);
  checks::pool("pool_forward", tokens, x, y);
  const int64_t hidden = x.dim(1);
  by_storage(table_, x.dtype(), [&]<class T>(const vec::Kernels<T>& kernels, T) {
    parallel_.ranges(tokens.texts(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t length = tokens.length(b), all = pooling == Pooling::mean ? length : std::min<int64_t>(length, 1);
        const int64_t first = tokens.offsets[static_cast<size_t>(b)] + (pooling == Pooling::last_token ? length - all : 0);
        kernels.pool(elements<T>(x) + first * hidden, all, 1.0f / static_cast<float>(std::max<int64_t>(all, 1)),
                     elements<float>(y) + b * hidden, hidden);
      }
    });
  });
}

void CpuBackend::pool_backward(const TokenBatch& tokens, ConstTensor dy, Pooling pooling, Tensor dx) {
  if (dx.dtype() == DType::f64) return reference_.pool_backward(tokens, dy, pooling, dx);
  checks::pool("pool_backward", tokens, dx, dy);
  const int64_t hidden = dx.dim(1);
  by_storage(table_, dx.dtype(), [&]<class T>(const vec::Kernels<T>& kernels, T) {
    parallel_.ranges(tokens.texts(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t length = tokens.length(b);
        const float mean = 1.0f / static_cast<float>(std::max<int64_t>(length, 1));
        for (int64_t t = 0; t < length; ++t) {
          const bool chosen = t == (pooling == Pooling::cls ? 0 : length - 1);
          const float weight = pooling == Pooling::mean ? mean : (chosen ? 1.0f : 0.0f);
          kernels.scale(elements<float>(dy) + b * hidden, weight, elements<T>(dx) + (tokens.offsets[static_cast<size_t>(b)] + t) * hidden, hidden);
        }
      }
    });
  });
}

void CpuBackend::l2_normalize_forward(ConstTensor x, Tensor y, Tensor norms) {
  if (x.dtype() == DType::f64) return reference_.l2_normalize_forward(x, y, norms);
  checks::l2_normalize("l2_normalize_forward", x, y, norms);
  const int64_t columns = y.dim(1);
  parallel_.ranges(x.dim(0), 8, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const float* in = elements<float>(x) + b * x.dim(1);
      const float norm = table_.l2_norm(in, columns);
      elements<float>(norms)[b] = norm;
      table_.f32.scale(in, 1.0f / std::max(norm, smallest_norm), elements<float>(y) + b * columns, columns);
    }
  });
}

// dx += (dy - y <y, dy>) / |x|; below the smallest norm the divisor is constant, so dx += dy / 1e-12.
void CpuBackend::l2_normalize_backward(ConstTensor dy, ConstTensor y, ConstTensor norms, Tensor dx) {
  if (dx.dtype() == DType::f64) return reference_.l2_normalize_backward(dy, y, norms, dx);
  checks::l2_normalize("l2_normalize_backward", dx, y, norms);
  checks::same("l2_normalize_backward", "dy", y, dy);
  const int64_t columns = y.dim(1);
  parallel_.ranges(dx.dim(0), 8, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const float *d = elements<float>(dy) + b * columns, *normal = elements<float>(y) + b * columns;
      const float norm = elements<float>(norms)[b], inverse = 1.0f / std::max(norm, smallest_norm);
      float* out = elements<float>(dx) + b * dx.dim(1);
      table_.f32.axpy(inverse, d, out, columns);
      if (norm > smallest_norm) table_.f32.axpy(-table_.dot(normal, d, columns) * inverse, normal, out, columns);
    }
  });
}

void CpuBackend::log_sum_exp_rows(ConstTensor x, double scale, Tensor lse) {
  if (x.dtype() == DType::f64) return reference_.log_sum_exp_rows(x, scale, lse);
  checks::row_statistic("log_sum_exp_rows", x, lse);
  parallel_.ranges(x.dim(0), 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      elements<float>(lse)[i] = table_.log_sum_exp(elements<float>(x) + i * x.dim(1), x.dim(1), static_cast<float>(scale));
  });
}

void CpuBackend::softmax_rows(Tensor x, double scale, ConstTensor lse, double weight) {
  if (x.dtype() == DType::f64) return reference_.softmax_rows(x, scale, lse, weight);
  checks::row_statistic("softmax_rows", x, lse);
  parallel_.ranges(x.dim(0), 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      table_.softmax(elements<float>(x) + i * x.dim(1), x.dim(1), static_cast<float>(scale), elements<float>(lse)[i],
                     static_cast<float>(weight));
  });
}

}  // namespace lodestone
