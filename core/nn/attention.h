// SelfAttention: the first half of a block, y = layer_norm(x + dropout(dense(attention(x)))), and its backward.
#pragma once

#include "core/nn/linear.h"
#include "core/nn/residual_norm.h"

namespace lodestone {

class SelfAttention {
 public:
  /// qkv is one product with the query, key and value weights side by side: [3H,H].
  SelfAttention(Linear qkv, Linear output, ResidualNorm norm, int64_t heads, double dropout, int64_t layer)
      : qkv_(qkv), output_(output), norm_(norm), heads_(heads), p_(dropout), layer_(layer) {}

  int64_t hidden() const { return qkv_.in(); }
  int64_t heads() const { return heads_; }

  struct Saved {
    Activation qkv;  // [S,3H]
    Activation ctx;  // [S,H]
    Tensor lse;      // [S,A]
    ResidualNorm::Saved norm;
  };

  /// y [S,H] from x [S,H]; fills saved.
  void forward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Activation& x, const Saved& saved,
               const Activation& y) const;
  /// dy = dL/dy becomes dL/dx, in place; gradients of the parameters are added into grads. x as given to forward.
  void backward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Activation& x, const Saved& saved, const Activation& dy,
                Tensor grads) const;

 private:
  Linear qkv_, output_;
  ResidualNorm norm_;
  int64_t heads_;
  double p_;
  int64_t layer_;
};

}  // namespace lodestone
