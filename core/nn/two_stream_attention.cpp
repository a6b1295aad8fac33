#include "core/nn/two_stream_attention.h"

namespace lodestone {

TwoStreamAttention::Saved TwoStreamAttention::take(Exec& ex, int64_t rows) const {
  const int64_t H = q_.in();
  const auto part = [&](int64_t columns, Padding padding) { return take_rows(ex, ex.compute, rows, columns, padding); };
  return {part(H, Padding::any), part(2 * H, Padding::any), part(H, Padding::zero), ex.arena.tensor(ex.wide(), {rows, heads_}),
          ResidualNorm::take(ex, part(H, Padding::any))};
}

void TwoStreamAttention::forward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const DeviceMasks& masks,
                                 const Activation& x, const Activation& others, const Saved& saved, const Activation& y) const {
  q_.forward(ex, params, x, saved.q);
  kv_.forward(ex, params, others, saved.kv);
  ex.backend.masked_attention_forward(texts, masks, saved.q.real(), saved.kv.real(), heads_,
                                      dropout_at(ex, texts, p_, layer_, Place::attention), saved.ctx.real(), saved.lse);
  output_.forward(ex, params, saved.ctx, saved.norm.sum);
  norm_.forward(ex, params, texts, x, saved.norm, y);
}

void TwoStreamAttention::backward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const DeviceMasks& masks,
                                  const Activation& x, const Activation& others, const Saved& saved, const Activation& dy,
                                  const Activation& d_others, Tensor grads) const {
  const auto scope = ex.arena.scope();
  const int64_t rows = x.rows, H = q_.in();
  const Activation d_branch = take_rows(ex, ex.compute, rows, H, Padding::zero);
  norm_.backward(ex, params, texts, saved.norm, dy, d_branch, grads);
  const Activation d_ctx = take_rows(ex, ex.compute, rows, H, Padding::any);
  output_.backward(ex, params, saved.ctx, d_branch, Linear::Into::set, d_ctx, grads);
  const Activation d_q = take_rows(ex, ex.compute, rows, H, Padding::zero), d_kv = take_rows(ex, ex.compute, rows, 2 * H, Padding::zero);
  ex.backend.masked_attention_backward(texts, masks, saved.q.real(), saved.kv.real(), saved.ctx.real(), saved.lse, d_ctx.real(), heads_,
                                       dropout_at(ex, texts, p_, layer_, Place::attention), d_q.real(), d_kv.real());
  q_.backward(ex, params, x, d_q, Linear::Into::add, dy, grads);  // dy holds the residual's share already
  kv_.backward(ex, params, others, d_kv, Linear::Into::set, d_others, grads);
  // As in SelfAttention: the gradient of a key bias is zero, and what rounding leaves must not reach Adam.
  ex.backend.fill_zero(grads.slice({kv_.bias().begin, kv_.bias().begin + H}));
}

}  // namespace lodestone
