#include "core/nn/head.h"

namespace lodestone {

namespace {

/// y = squash(y), in place.
void squash_forward(Exec& ex, Squash squash, Tensor y) {
  switch (squash) {
    case Squash::identity:
      return;
    case Squash::tanh:
      return ex.backend.tanh_forward(y, y);
  }
  throw_internal(__FILE__, __LINE__, "squash", "no such activation of a dense layer");
}

/// dx = dL/dx of y = squash(x).
void squash_backward(Exec& ex, Squash squash, ConstTensor y, ConstTensor dy, Tensor dx) {
  switch (squash) {
    case Squash::identity:
      return ex.backend.copy(dy, dx);
    case Squash::tanh:
      return ex.backend.tanh_backward(y, dy, dx);
  }
  throw_internal(__FILE__, __LINE__, "squash", "no such activation of a dense layer");
}

}  // namespace

Head::Saved Head::take(Exec& ex, int64_t texts) const {
  if (!dense_) return {};
  return {take_rows(ex, ex.wide(), texts, hidden_, Padding::zero), take_rows(ex, ex.wide(), texts, dense_->out(), Padding::any)};
}

void Head::forward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Activation& x, const Saved& saved,
                   Tensor emb) const {
  if (!dense_) {
    ex.backend.pool_forward(texts, x.real(), pooling_, emb);
    return;
  }
  ex.backend.pool_forward(texts, x.real(), pooling_, saved.pooled.real());
  dense_->forward(ex, params, saved.pooled, saved.y);
  squash_forward(ex, squash_, saved.y.real());
  ex.backend.copy(saved.y.real(), emb);
}

void Head::backward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Saved& saved, ConstTensor d_emb,
                    const Activation& dx, Tensor grads) const {
  if (!dense_) {
    ex.backend.pool_backward(texts, d_emb, pooling_, dx.real());
    return;
  }
  const auto scope = ex.arena.scope();
  const Activation dy = take_rows(ex, ex.wide(), texts.texts(), dense_->out(), Padding::zero);
  squash_backward(ex, squash_, saved.y.real(), d_emb, dy.real());
  const Activation d_pooled = take_rows(ex, ex.wide(), texts.texts(), hidden_, Padding::any);
  dense_->backward(ex, params, saved.pooled, dy, Linear::Into::set, d_pooled, grads);
  ex.backend.pool_backward(texts, d_pooled.real(), pooling_, dx.real());
}

}  // namespace lodestone
