// Reference loops: GELU and tanh.
#include <cmath>

#include "core/checks.h"
#include "core/cpu/reference/reference_backend.h"
#include "core/cpu/reference/views.h"

namespace lodestone {

using reference::for_dtype;
using reference::read;
using reference::write;

namespace {

/// out[i] = f(in[i]) in the dtype of x.
template <class F>
void map(const char* op, ConstTensor x, Tensor y, F f) {
  checks::same(op, "y", x, y);
  for_dtype(op, x.dtype(), [&]<class T>(T) {
    const auto in = read<T>(x);
    const auto out = write<T>(y);
    for (int64_t i = 0; i < x.count(); ++i) out[i] = f(in[i]);
  });
}

/// out[i] = f(in[i], d[i]).
template <class F>
void map_gradient(const char* op, ConstTensor x, ConstTensor dy, Tensor dx, F f) {
  checks::same(op, "dy", x, dy);
  checks::same(op, "dx", x, dx);
  for_dtype(op, x.dtype(), [&]<class T>(T) {
    const auto in = read<T>(x), d = read<T>(dy);
    const auto out = write<T>(dx);
    for (int64_t i = 0; i < x.count(); ++i) out[i] = f(in[i], d[i]);
  });
}

/// Phi(x), the distribution function of the standard normal.
template <class T>
T normal_cdf(T x) {
  return T{0.5} * std::erfc(-x * static_cast<T>(M_SQRT1_2));
}

/// phi(x), its density.
template <class T>
T normal_density(T x) {
  return std::exp(T{-0.5} * x * x) * static_cast<T>(0.3989422804014327);
}

}  // namespace

void ReferenceBackend::gelu_forward(ConstTensor x, Tensor y) {
  map("gelu_forward", x, y, []<class T>(T v) { return v * normal_cdf(v); });
}

void ReferenceBackend::gelu_backward(ConstTensor x, ConstTensor dy, Tensor dx) {
  map_gradient("gelu_backward", x, dy, dx, []<class T>(T v, T d) { return d * (normal_cdf(v) + v * normal_density(v)); });
}

void ReferenceBackend::tanh_forward(ConstTensor x, Tensor y) {
  map("tanh_forward", x, y, []<class T>(T v) { return std::tanh(v); });
}

void ReferenceBackend::tanh_backward(ConstTensor y, ConstTensor dy, Tensor dx) {
  map_gradient("tanh_backward", y, dy, dx, []<class T>(T v, T d) { return d * (T{1} - v * v); });
}

}  // namespace lodestone
