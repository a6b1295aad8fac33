// ScoreHead: one score per text from its vector, dropout(x) weight^T + bias, and its backward.
#pragma once

#include "core/nn/linear.h"

namespace lodestone {

/// The classifier of a cross-encoder. Works in the wide dtype (f32 for bf16 activations).
class ScoreHead {
 public:
  /// `classifier` maps H to 1; `slice` covers its parameters.
  ScoreHead(Linear classifier, double dropout, Slice slice) : classifier_(classifier), p_(dropout), slice_(slice) {}

  Slice slice() const { return slice_; }

  struct Saved {
    Activation x;  // [B,H] the texts' vectors; forward drops elements in place
  };
  Saved take(Exec& ex, int64_t texts) const { return {take_rows(ex, ex.wide(), texts, classifier_.in(), Padding::zero)}; }

  /// scores [B] from saved.x, which the caller has filled. `texts` names them for dropout.
  void forward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Saved& saved, Tensor scores) const;
  /// dx [B,H] = dL/dx from d_scores [B]; gradients of the parameters are added into grads.
  void backward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Saved& saved, ConstTensor d_scores,
                const Activation& dx, Tensor grads) const;

 private:
  void drop(Exec& ex, const DeviceTexts& texts, Tensor x) const;

  Linear classifier_;
  double p_;
  Slice slice_;
};

}  // namespace lodestone
