// Head: sentence vectors from token vectors, squash(dense(pool(x))), and its backward.
#pragma once

#include <optional>

#include "core/nn/config.h"
#include "core/nn/linear.h"

namespace lodestone {

/// Pooling, and behind it a dense layer where the model has one. Works in the wide dtype (f32 for bf16 activations).
class Head {
 public:
  /// Pooling alone when `dense` is empty. `slice` covers the dense layer's parameters.
  Head(Pooling pooling, int64_t hidden, std::optional<Linear> dense, Squash squash, Slice slice)
      : pooling_(pooling), hidden_(hidden), dense_(dense), squash_(squash), slice_(slice) {}

  /// Empty when there is no dense layer.
  Slice slice() const { return slice_; }
  int64_t hidden() const { return hidden_; }
  int64_t embedding() const { return dense_ ? dense_->out() : hidden_; }
  bool has_dense() const { return dense_.has_value(); }

  /// Both empty when there is no dense layer.
  struct Saved {
    Activation pooled;  // [B,H]
    Activation y;       // [B,E]
  };
  Saved take(Exec& ex, int64_t texts) const;

  /// emb [B,E] from x [S,H].
  void forward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Activation& x, const Saved& saved, Tensor emb) const;
  /// dx = dL/dx; gradients of the dense layer are added into grads.
  void backward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Saved& saved, ConstTensor d_emb, const Activation& dx,
                Tensor grads) const;

 private:
  Pooling pooling_;
  int64_t hidden_;
  std::optional<Linear> dense_;
  Squash squash_;
  Slice slice_;
};

}  // namespace lodestone
