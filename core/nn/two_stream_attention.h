// TwoStreamAttention: y = layer_norm(x + dropout(dense(attention))), queries from x, keys and values from another stream under masks.
#pragma once

#include "core/nn/linear.h"
#include "core/nn/residual_norm.h"

namespace lodestone {

class TwoStreamAttention {
 public:
  /// kv is one product with the key and value weights side by side: [2H,H].
  TwoStreamAttention(Linear q, Linear kv, Linear output, ResidualNorm norm, int64_t heads, double dropout, int64_t layer)
      : q_(q), kv_(kv), output_(output), norm_(norm), heads_(heads), p_(dropout), layer_(layer) {}

  struct Saved {
    Activation q;    // [S,H]
    Activation kv;   // [S,2H]
    Activation ctx;  // [S,H]
    Tensor lse;      // [S,A]
    ResidualNorm::Saved norm;
  };
  Saved take(Exec& ex, int64_t rows) const;

  /// y [S,H] from the queries' stream x and the keys' and values' stream, both [S,H]; fills saved.
  void forward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const DeviceMasks& masks, const Activation& x,
               const Activation& others, const Saved& saved, const Activation& y) const;
  /// dy = dL/dy becomes dL/dx, in place; d_others = dL/d others; gradients of the parameters are added into grads.
  void backward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const DeviceMasks& masks, const Activation& x,
                const Activation& others, const Saved& saved, const Activation& dy, const Activation& d_others, Tensor grads) const;

 private:
  Linear q_, kv_, output_;
  ResidualNorm norm_;
  int64_t heads_;
  double p_;
  int64_t layer_;
};

}  // namespace lodestone
