#include "core/nn/head.h"

namespace lodestone {

Head::Saved Head::take(Exec& ex, int64_t texts) const {
  if (!dense_) return {};
  return {take_rows(ex, ex.wide(), texts, hidden_, Padding::zero), take_rows(ex, ex.wide(), texts, dense_->out(), Padding::any)};
}

void Head::forward(Exec& ex, const ParamStore& params, const TokenBatch& tokens, const Activation& x, const Saved& saved,
                   Tensor emb) const {
  if (!dense_) {
    ex.backend.pool_forward(tokens, x.real(), pooling_, emb);
    return;
  }
  ex.backend.pool_forward(tokens, x.real(), pooling_, saved.pooled.real());
  dense_->forward(ex, params, saved.pooled, saved.y);
  if (squash_ == Squash::tanh) ex.backend.tanh_forward(saved.y.real(), saved.y.real());
  ex.backend.copy(saved.y.real(), emb);
}

void Head::backward(Exec& ex, const ParamStore& params, const TokenBatch& tokens, const Saved& saved, ConstTensor d_emb,
                    const Activation& dx, Tensor grads) const {
  if (!dense_) {
    ex.backend.pool_backward(tokens, d_emb, pooling_, dx.real());
    return;
  }
  const auto scope = ex.arena.scope();
  const Activation dy = take_rows(ex, ex.wide(), tokens.texts(), dense_->out(), Padding::zero);
  if (squash_ == Squash::tanh)
    ex.backend.tanh_backward(saved.y.real(), d_emb, dy.real());
  else
    ex.backend.copy(d_emb, dy.real());
  const Activation d_pooled = take_rows(ex, ex.wide(), tokens.texts(), hidden_, Padding::any);
  dense_->backward(ex, params, saved.pooled, dy, Linear::Into::set, d_pooled, grads);
  ex.backend.pool_backward(tokens, d_pooled.real(), pooling_, dx.real());
}

}  // namespace lodestone
