#include "core/nn/mlp.h"

namespace lodestone {

void Mlp::forward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Activation& x, const Saved& saved,
                  const Activation& y) const {
  intermediate_.forward(ex, params, x, saved.u);
  hidden_activation_forward(ex, activation_, saved.u, saved.h);
  output_.forward(ex, params, saved.h, saved.norm.sum);
  norm_.forward(ex, params, texts, x, saved.norm, y);
}

void Mlp::backward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Activation& x, const Saved& saved,
                   const Activation& dy, Tensor grads) const {
  const auto scope = ex.arena.scope();
  const Activation d_branch = take_rows(ex, ex.compute, x.rows, intermediate_.in(), Padding::zero);
  norm_.backward(ex, params, texts, saved.norm, dy, d_branch, grads);
  const Activation d_h = take_rows(ex, ex.compute, x.rows, feed_forward(), Padding::any);
  output_.backward(ex, params, saved.h, d_branch, Linear::Into::set, d_h, grads);
  hidden_activation_backward(ex, activation_, saved.u, d_h, d_h);
  intermediate_.backward(ex, params, x, d_h, Linear::Into::add, dy, grads);  // dy holds the residual's share already
}

}  // namespace lodestone
