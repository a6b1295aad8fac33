// Linear: y = x weight^T + bias, and its backward.
#pragma once

#include "core/nn/activation.h"
#include "core/params.h"

namespace lodestone {

/// A dense layer: where its weight [out,in] and bias [out] lie in the flat parameter vector. An empty bias slice means no bias.
class Linear {
 public:
  Linear(int64_t in, int64_t out, Slice weight, Slice bias) : weight_(weight), bias_(bias), in_(in), out_(out) {}
  int64_t in() const { return in_; }
  int64_t out() const { return out_; }
  Slice bias() const { return bias_; }

  /// y = x weight^T + bias.   x [S,in], y [S,out].
  void forward(Exec& ex, const ParamStore& params, const Activation& x, const Activation& y) const;
  /// dx = dy weight, or dx += dy weight;  d_weight += dy^T x;  d_bias += column sums of dy. grads is the flat gradient vector.
  enum class Into : uint8_t { set, add };
  void backward(Exec& ex, const ParamStore& params, const Activation& x, const Activation& dy, Into into, const Activation& dx,
                Tensor grads) const;

 private:
  Slice weight_, bias_;
  int64_t in_ = 0, out_ = 0;
};

}  // namespace lodestone
