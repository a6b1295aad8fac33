// Mlp: the second half of a block, y = layer_norm(x + dropout(dense(activation(dense(x))))), and its backward.
#pragma once

#include "core/nn/hidden_activation.h"
#include "core/nn/linear.h"
#include "core/nn/residual_norm.h"

namespace lodestone {

class Mlp {
 public:
  Mlp(Linear intermediate, Linear output, HiddenActivation activation, ResidualNorm norm)
      : intermediate_(intermediate), output_(output), activation_(activation), norm_(norm) {}

  int64_t feed_forward() const { return intermediate_.out(); }

  struct Saved {
    Activation u;  // [S,F] before the activation
    Activation h;  // [S,F] after it: stored, because reading it costs less time than a second erf per element
    ResidualNorm::Saved norm;
  };

  /// y [S,H] from x [S,H]; fills saved. saved.h may be saved.u when no backward follows.
  void forward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Activation& x, const Saved& saved,
               const Activation& y) const;
  /// dy = dL/dy becomes dL/dx, in place; gradients of the parameters are added into grads. x as given to forward.
  void backward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Activation& x, const Saved& saved, const Activation& dy,
                Tensor grads) const;

 private:
  Linear intermediate_, output_;
  HiddenActivation activation_;
  ResidualNorm norm_;
};

}  // namespace lodestone
