// Reference loops: the optimiser step and whole-vector operations.
#include <cmath>
#include <cstring>

#include "core/checks.h"
#include "core/cpu/reference/reference_backend.h"
#include "core/cpu/reference/views.h"

namespace lodestone {

using reference::for_dtype;

namespace {

/// Calls body with a double, float or bfloat16.
template <class Body>
void for_any_dtype(const char* op, DType dtype, Body body) {
  if (dtype == DType::bf16) return body(bfloat16{});
  for_dtype(op, dtype, body);
}

template <class To, class From>
To convert(From value) {
  if constexpr (std::is_same_v<To, bfloat16>)
    return bfloat16(static_cast<float>(value));
  else if constexpr (std::is_same_v<From, bfloat16>)
    return static_cast<To>(static_cast<float>(value));
  else
    return static_cast<To>(value);
}

}  // namespace

// m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;  p -= lr (m' / (sqrt(v') + eps) + weight_decay p),
// with m' = m / (1 - beta1^t), v' = v / (1 - beta2^t).
void ReferenceBackend::adamw(const AdamWStep& step, const std::vector<UpdateRun>& runs, ConstTensor g, Tensor p, Tensor m, Tensor v) {
  checks::adamw(step, runs, g, p, m, v);
  for_dtype("adamw", g.dtype(), [&]<class T>(T) {
    const auto grad = g.host<T>();
    const auto param = p.host<T>(), first = m.host<T>(), second = v.host<T>();
    const double t = static_cast<double>(step.t);
    const T correction1 = static_cast<T>(1 / (1 - std::pow(step.beta1, t))),
            correction2 = static_cast<T>(1 / (1 - std::pow(step.beta2, t)));
    const T beta1 = static_cast<T>(step.beta1), beta2 = static_cast<T>(step.beta2);
    for (const UpdateRun& run : runs) {
      const T decay = run.decays ? static_cast<T>(step.weight_decay) : T{0};
      for (auto i = static_cast<size_t>(run.slice.begin); i < static_cast<size_t>(run.slice.end); ++i) {
        const T d = static_cast<T>(step.gradient_scale) * grad[i];
        first[i] = beta1 * first[i] + (T{1} - beta1) * d;
        second[i] = beta2 * second[i] + (T{1} - beta2) * d * d;
        const T direction = first[i] * correction1 / (std::sqrt(second[i] * correction2) + static_cast<T>(step.eps));
        param[i] -= static_cast<T>(step.lr) * (direction + decay * param[i]);
      }
    }
  });
}

void ReferenceBackend::sum_squares(ConstTensor x, Tensor total) {
  checks::total("sum_squares", total);
  double sum = 0;
  for_dtype("sum_squares", x.dtype(), [&]<class T>(T) {
    for (const T v : x.host<T>()) sum += static_cast<double>(v) * static_cast<double>(v);
  });
  total.host<double>()[0] = sum;
}

void ReferenceBackend::cast(ConstTensor x, Tensor y) {
  checks::shape("cast", "y", y, x.shape());
  for_any_dtype("cast", x.dtype(), [&]<class From>(From) {
    for_any_dtype("cast", y.dtype(), [&]<class To>(To) {
      const auto in = x.host<From>();
      const auto out = y.host<To>();
      for (size_t i = 0; i < in.size(); ++i) out[i] = convert<To>(in[i]);
    });
  });
}

void ReferenceBackend::axpy(double alpha, ConstTensor x, Tensor y) {
  checks::same("axpy", "y", x, y);
  for_any_dtype("axpy", x.dtype(), [&]<class T>(T) {
    using Sum = std::conditional_t<std::is_same_v<T, bfloat16>, float, T>;
    const auto in = x.host<T>();
    const auto out = y.host<T>();
    for (size_t i = 0; i < in.size(); ++i) out[i] = convert<T>(convert<Sum>(out[i]) + static_cast<Sum>(alpha) * convert<Sum>(in[i]));
  });
}

void ReferenceBackend::scale(double alpha, ConstTensor x, Tensor y) {
  checks::alike("scale", x, y);
  for_dtype("scale", x.dtype(), [&]<class T>(T) {
    const auto in = x.host<T>();
    const auto out = y.host<T>();
    for (size_t i = 0; i < in.size(); ++i) out[i] = static_cast<T>(alpha) * in[i];
  });
}

void ReferenceBackend::fill_zero(Tensor x) {
  if (!x.empty()) std::memset(x.bytes(), 0, x.size_bytes());
}

void ReferenceBackend::copy(ConstTensor x, Tensor y) {
  checks::shape("copy", "y", y, x.shape());
  checks::dtype("copy", "y", y, x.dtype());
  if (!x.empty()) std::memmove(y.bytes(), x.bytes(), x.size_bytes());
}

}  // namespace lodestone
