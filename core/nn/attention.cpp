#include "core/nn/attention.h"

namespace lodestone {

void SelfAttention::forward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Activation& x, const Saved& saved,
                            const Activation& y) const {
  qkv_.forward(ex, params, x, saved.qkv);
  ex.backend.attention_forward(texts, saved.qkv.real(), heads_, dropout_at(ex, texts, p_, layer_, Place::attention), saved.ctx.real(),
                               saved.lse);
  output_.forward(ex, params, saved.ctx, saved.norm.sum);
  norm_.forward(ex, params, texts, x, saved.norm, y);
}

void SelfAttention::backward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Activation& x, const Saved& saved,
                             const Activation& dy, Tensor grads) const {
  const auto scope = ex.arena.scope();
  const int64_t rows = x.rows, H = hidden();
  const Activation d_branch = take_rows(ex, ex.compute, rows, H, Padding::zero);
  norm_.backward(ex, params, texts, saved.norm, dy, d_branch, grads);
  const Activation d_ctx = take_rows(ex, ex.compute, rows, H, Padding::any);
  output_.backward(ex, params, saved.ctx, d_branch, Linear::Into::set, d_ctx, grads);
  const Activation d_qkv = take_rows(ex, ex.compute, rows, 3 * H, Padding::zero);
  ex.backend.attention_backward(texts, saved.qkv.real(), saved.ctx.real(), saved.lse, d_ctx.real(), heads_,
                                dropout_at(ex, texts, p_, layer_, Place::attention), d_qkv.real());
  qkv_.backward(ex, params, x, d_qkv, Linear::Into::add, dy, grads);  // dy holds the residual's share already
  // A key bias adds the same amount to all scores of a query, which softmax does not see: its gradient is zero. What rounding
  // leaves there must go, or Adam turns it into full steps of random sign.
  const Slice bias = qkv_.bias();
  ex.backend.fill_zero(grads.slice({bias.begin + H, bias.begin + 2 * H}));
}

}  // namespace lodestone
