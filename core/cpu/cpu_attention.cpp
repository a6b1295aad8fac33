// CpuBackend: attention of one stream, and of two streams under masks.
#include <cmath>

#include "core/checks.h"
#include "core/cpu/cpu_backend.h"
#include "core/cpu/storage.h"

namespace lodestone {

namespace {

/// One of the matrices q, k and v, or of their gradients: where its first column stands, and how far apart its rows are.
template <class T>
struct Columns {
  T* data;
  int64_t stride;
  /// Head a, of `size` columns, from row `first`.
  T* head(int64_t first, int64_t a, int64_t size) const { return data + first * stride + a * size; }
};

/// Columns [part * width, (part + 1) * width) of a matrix whose rows have `stride` elements.
template <class T>
Columns<const T> columns(ConstTensor x, int64_t part, int64_t width) {
  return {elements<T>(x) + part * width, x.dim(1)};
}
template <class T>
Columns<T> columns(Tensor x, int64_t part, int64_t width) {
  return {elements<T>(x) + part * width, x.dim(1)};
}

/// All that the heads of a call have in common.
template <class T>
struct Streams {
  const TokenBatch& tokens;
  int64_t longest;  // tokens of a text
  Columns<const T> q, k, v;
  int64_t hidden, heads;
  const Dropout& dropout;
  const KeyMasks* masks;  // null: every row sees all
  int64_t size() const { return hidden / heads; }

  /// The operands that forward and backward share for head a of text b.
  vec::AttentionHead<T> head(int64_t b, int64_t a, float* scratch) const {
    const int64_t first = tokens.offsets[static_cast<size_t>(b)];
    const uint32_t threshold = dropout_threshold(dropout.p);
    vec::AttentionHead<T> h{};
    h.q = q.head(first, a, size());
    h.k = k.head(first, a, size());
    h.v = v.head(first, a, size());
    h.length = tokens.length(b);
    h.size = size();
    h.q_stride = q.stride;
    h.kv_stride = k.stride;
    h.ctx_stride = hidden;
    h.lse_stride = heads;
    h.scale = 1.0f / std::sqrt(static_cast<float>(size()));
    h.key = dropout.key.value();
    h.text = threshold == 0 ? 0 : tokens.keys[static_cast<size_t>(b)];
    h.head = static_cast<uint32_t>(a);
    h.threshold = threshold;
    h.keep = static_cast<float>(1.0 / (1.0 - threshold / 65536.0));
    h.scratch = scratch;
    if (masks != nullptr && h.length > 0) {
      h.mask_bits = masks->bits.data() + masks->first[static_cast<size_t>(b)];
      h.mask_of_row = masks->of_row.data() + first;
      h.mask_words = KeyMasks::words(h.length);
    }
    return h;
  }
};

struct Work {
  const Parallel& parallel;
  const vec::Table& table;
  Scratch& scratch;
};

/// body(operands of a head, its text's first row, its number) for every head of every text.
template <class T, class Body>
void for_heads(const Work& work, const Streams<T>& streams, Body body) {
  const int64_t need = work.table.attention_scratch(streams.longest, streams.size());
  float* scratch = work.scratch.take<float>(need * work.parallel.threads());
  work.parallel.items(streams.tokens.texts() * streams.heads, [&](int64_t item, int thread) {
    const int64_t b = item / streams.heads, a = item % streams.heads;
    body(streams.head(b, a, scratch + need * thread), streams.tokens.offsets[static_cast<size_t>(b)], a);
  });
}

template <class T>
void forward(const Work& work, const vec::Kernels<T>& kernels, const Streams<T>& streams, Tensor ctx, Tensor lse) {
  for_heads(work, streams, [&](vec::AttentionHead<T> h, int64_t first, int64_t a) {
    h.ctx = elements<T>(ctx) + first * streams.hidden + a * h.size;
    h.lse = elements<float>(lse) + first * streams.heads + a;
    kernels.attention_forward(h);
  });
}

/// Gradients of q, k and v.
template <class T>
struct StreamGradients {
  Columns<T> q, k, v;
};

template <class T>
void backward(const Work& work, const vec::Kernels<T>& kernels, const Streams<T>& streams, ConstTensor ctx, ConstTensor lse,
              ConstTensor d_ctx, const StreamGradients<T>& d) {
  for_heads(work, streams, [&](vec::AttentionHead<T> h, int64_t first, int64_t a) {
    h.saved_ctx = elements<T>(ctx) + first * streams.hidden + a * h.size;
    h.saved_lse = elements<float>(lse) + first * streams.heads + a;
    h.d_ctx = elements<T>(d_ctx) + first * streams.hidden + a * h.size;
    h.dq = d.q.head(first, a, h.size);
    h.dk = d.k.head(first, a, h.size);
    h.dv = d.v.head(first, a, h.size);
    kernels.attention_backward(h);
  });
}

}  // namespace

void CpuBackend::attention_forward(const DeviceTexts& texts, ConstTensor qkv, int64_t heads, Dropout dropout, Tensor ctx, Tensor lse) {
  if (qkv.dtype() == DType::f64) return ReferenceBackend::attention_forward(texts, qkv, heads, dropout, ctx, lse);
  checks::attention("attention_forward", texts, qkv, heads, dropout, ctx, lse);
  const TokenBatch tokens = on_host(texts);
  by_storage(table_, qkv.dtype(), [&]<class T>(const vec::Kernels<T>& kernels, T) {
    const int64_t H = ctx.dim(1);
    const Streams<T> streams{tokens,  texts.longest, columns<T>(qkv, 0, H), columns<T>(qkv, 1, H), columns<T>(qkv, 2, H), H, heads,
                             dropout, nullptr};
    forward({parallel_, table_, scratch_}, kernels, streams, ctx, lse);
  });
}

void CpuBackend::attention_backward(const DeviceTexts& texts, ConstTensor qkv, ConstTensor ctx, ConstTensor lse, ConstTensor d_ctx,
                                    int64_t heads, Dropout dropout, Tensor d_qkv) {
  if (qkv.dtype() == DType::f64) return ReferenceBackend::attention_backward(texts, qkv, ctx, lse, d_ctx, heads, dropout, d_qkv);
  const char* op = "attention_backward";
  checks::attention(op, texts, qkv, heads, dropout, ctx, lse);
  checks::same(op, "d_ctx", ctx, d_ctx);
  checks::same(op, "d_qkv", qkv, d_qkv);
  const TokenBatch tokens = on_host(texts);
  by_storage(table_, qkv.dtype(), [&]<class T>(const vec::Kernels<T>& kernels, T) {
    const int64_t H = ctx.dim(1);
    const Streams<T> streams{tokens,  texts.longest, columns<T>(qkv, 0, H), columns<T>(qkv, 1, H), columns<T>(qkv, 2, H), H, heads,
                             dropout, nullptr};
    const StreamGradients<T> d{columns<T>(d_qkv, 0, H), columns<T>(d_qkv, 1, H), columns<T>(d_qkv, 2, H)};
    backward({parallel_, table_, scratch_}, kernels, streams, ctx, lse, d_ctx, d);
  });
}

void CpuBackend::masked_attention_forward(const DeviceTexts& texts, const DeviceMasks& masks, ConstTensor q, ConstTensor kv, int64_t heads,
                                          Dropout dropout, Tensor ctx, Tensor lse) {
  if (q.dtype() == DType::f64) return ReferenceBackend::masked_attention_forward(texts, masks, q, kv, heads, dropout, ctx, lse);
  checks::masked_attention("masked_attention_forward", texts, masks, q, kv, heads, dropout, ctx, lse);
  const TokenBatch tokens = on_host(texts);
  const KeyMasks key_masks = on_host(masks);
  by_storage(table_, q.dtype(), [&]<class T>(const vec::Kernels<T>& kernels, T) {
    const int64_t H = q.dim(1);
    const Streams<T> streams{tokens, texts.longest, columns<T>(q, 0, H), columns<T>(kv, 0, H), columns<T>(kv, 1, H), H,
                             heads,  dropout,       &key_masks};
    forward({parallel_, table_, scratch_}, kernels, streams, ctx, lse);
  });
}

void CpuBackend::masked_attention_backward(const DeviceTexts& texts, const DeviceMasks& masks, ConstTensor q, ConstTensor kv,
                                           ConstTensor ctx, ConstTensor lse, ConstTensor d_ctx, int64_t heads, Dropout dropout, Tensor d_q,
                                           Tensor d_kv) {
  if (q.dtype() == DType::f64)
    return ReferenceBackend::masked_attention_backward(texts, masks, q, kv, ctx, lse, d_ctx, heads, dropout, d_q, d_kv);
  const char* op = "masked_attention_backward";
  checks::masked_attention(op, texts, masks, q, kv, heads, dropout, ctx, lse);
  checks::same(op, "d_ctx", ctx, d_ctx);
  checks::same(op, "d_q", q, d_q);
  checks::same(op, "d_kv", kv, d_kv);
  const TokenBatch tokens = on_host(texts);
  const KeyMasks key_masks = on_host(masks);
  by_storage(table_, q.dtype(), [&]<class T>(const vec::Kernels<T>& kernels, T) {
    const int64_t H = q.dim(1);
    const Streams<T> streams{tokens, texts.longest, columns<T>(q, 0, H), columns<T>(kv, 0, H), columns<T>(kv, 1, H), H,
                             heads,  dropout,       &key_masks};
    const StreamGradients<T> d{columns<T>(d_q, 0, H), columns<T>(d_kv, 0, H), columns<T>(d_kv, 1, H)};
    backward({parallel_, table_, scratch_}, kernels, streams, ctx, lse, d_ctx, d);
  });
}

}  // namespace lodestone
