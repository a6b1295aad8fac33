#include "core/nn/linear.h"

namespace lodestone {

namespace {

/// bf16 products read the rounded weights; f32 and f64 products (the head of a bf16 model among them) read the masters.
ConstTensor weight_for(const ParamStore& params, DType dtype, Slice slice, Shape shape) {
  if (dtype == params.compute_dtype()) return params.compute(slice, shape);
  return params.masters(slice).reshape(shape);
}

ConstTensor bias_for(const Backend& backend, const ParamStore& params, DType dtype, Slice slice) {
  if (slice.count() == 0) return {};
  if (backend.wants_rounded_biases() && dtype == params.compute_dtype()) return params.compute(slice, {slice.count()});
  return params.masters(slice);
}

}  // namespace

void Linear::forward(Exec& ex, const ParamStore& params, const Activation& x, const Activation& y) const {
  const ConstTensor weight = weight_for(params, x.padded.dtype(), weight_, {out_, in_});
  ex.backend.linear(x.padded, weight, bias_for(ex.backend, params, y.padded.dtype(), bias_), y.padded);
}

void Linear::backward(Exec& ex, const ParamStore& params, const Activation& x, const Activation& dy, Into into, const Activation& dx,
                      Tensor grads) const {
  const ConstTensor weight = weight_for(params, x.padded.dtype(), weight_, {out_, in_});
  ex.backend.gemm(Op::none, dy.padded, Op::none, weight, 1.0, into == Into::add ? 1.0 : 0.0, dx.padded);
  ex.backend.linear_gradients(dy.padded, x.padded, grads.slice(weight_).reshape({out_, in_}), grads.slice(bias_));
}

}  // namespace lodestone
