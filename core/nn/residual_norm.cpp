#include "core/nn/residual_norm.h"

namespace lodestone {

ResidualNorm::Saved ResidualNorm::take(Exec& ex, const Activation& sum) {
  return {sum, ex.arena.tensor(ex.wide(), {sum.rows}), ex.arena.tensor(ex.wide(), {sum.rows})};
}

void ResidualNorm::forward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Activation& residual, const Saved& saved,
                           const Activation& y) const {
  const Tensor sum = saved.sum.real();
  ex.backend.residual_layer_norm_forward(texts, residual.real(), sum, dropout_at(ex, texts, p_, layer_, place_),
                                         params.masters(norm_.gamma), params.masters(norm_.beta), norm_.eps, sum, y.real(), saved.mean,
                                         saved.rstd);
}

void ResidualNorm::backward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Saved& saved, const Activation& dy,
                            const Activation& d_branch, Tensor grads) const {
  ex.backend.residual_layer_norm_backward(texts, dy.real(), saved.sum.real(), dropout_at(ex, texts, p_, layer_, place_),
                                          params.masters(norm_.gamma), saved.mean, saved.rstd, dy.real(), d_branch.real(),
                                          grads.slice(norm_.gamma), grads.slice(norm_.beta));
}

}  // namespace lodestone
