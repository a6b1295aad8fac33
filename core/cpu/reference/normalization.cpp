// Reference loops: layer normalisation, dropout, and both around a residual connection.
#include <cmath>

#include "core/checks.h"
#include "core/cpu/reference/reference_backend.h"
#include "core/cpu/reference/views.h"

namespace lodestone {

using reference::for_dtype;
using reference::Mask;
using reference::read;
using reference::write;

// y = xhat gamma + beta with xhat = (x - mean) rstd, rstd = 1 / sqrt(variance + eps), variance over H without correction.
void ReferenceBackend::layer_norm_forward(ConstTensor x, ConstTensor gamma, ConstTensor beta, double eps, Tensor y, Tensor mean,
                                          Tensor rstd) {
  checks::layer_norm_forward(x, gamma, beta, y, mean, rstd);
  for_dtype("layer_norm_forward", x.dtype(), [&]<class T>(T) {
    const auto in = read<T>(x), g = read<T>(gamma), b = read<T>(beta);
    const auto out = write<T>(y), mu = write<T>(mean), r = write<T>(rstd);
    const T hidden = static_cast<T>(in.columns);
    for (int64_t s = 0; s < in.rows; ++s) {
      T sum = 0, squares = 0;
      for (int64_t h = 0; h < in.columns; ++h) sum += in(s, h);
      const T m = sum / hidden;
      for (int64_t h = 0; h < in.columns; ++h) squares += (in(s, h) - m) * (in(s, h) - m);
      const T inverse = T{1} / std::sqrt(squares / hidden + static_cast<T>(eps));
      for (int64_t h = 0; h < in.columns; ++h) out(s, h) = (in(s, h) - m) * inverse * g[h] + b[h];
      mu[s] = m;
      r[s] = inverse;
    }
  });
}

// With u = dy gamma:  dx = rstd (u - mean(u) - xhat mean(u xhat));  d_gamma += sum dy xhat;  d_beta += sum dy.
void ReferenceBackend::layer_norm_backward(ConstTensor dy, ConstTensor x, ConstTensor gamma, ConstTensor mean, ConstTensor rstd, Tensor dx,
                                           Tensor d_gamma, Tensor d_beta) {
  checks::layer_norm_backward(dy, x, gamma, mean, rstd, dx, d_gamma, d_beta);
  for_dtype("layer_norm_backward", x.dtype(), [&]<class T>(T) {
    const auto d = read<T>(dy), in = read<T>(x), g = read<T>(gamma), mu = read<T>(mean), r = read<T>(rstd);
    const auto out = write<T>(dx), dg = write<T>(d_gamma), db = write<T>(d_beta);
    const T hidden = static_cast<T>(in.columns);
    for (int64_t s = 0; s < in.rows; ++s) {
      T mean_u = 0, mean_ux = 0;
      for (int64_t h = 0; h < in.columns; ++h) {
        const T normal = (in(s, h) - mu[s]) * r[s];
        mean_u += d(s, h) * g[h] / hidden;
        mean_ux += d(s, h) * g[h] * normal / hidden;
        dg[h] += d(s, h) * normal;
        db[h] += d(s, h);
      }
      for (int64_t h = 0; h < in.columns; ++h) out(s, h) = r[s] * (d(s, h) * g[h] - mean_u - (in(s, h) - mu[s]) * r[s] * mean_ux);
    }
  });
}

void ReferenceBackend::dropout(const DeviceTexts& texts, ConstTensor x, Dropout dropout, Tensor y) {
  checks::token_rows("dropout", "x", texts, x);
  checks::same("dropout", "y", x, y);
  checks::dropout("dropout", texts, dropout);
  const TokenBatch tokens = on_host(texts);
  for_dtype("dropout", x.dtype(), [&]<class T>(T) {
    const Mask<T> mask(dropout);
    const auto in = read<T>(x);
    const auto out = write<T>(y);
    for (int64_t b = 0; b < tokens.texts(); ++b)
      for (int64_t t = 0; t < tokens.length(b); ++t) {
        const int64_t s = tokens.offsets[static_cast<size_t>(b)] + t;
        for (int64_t h = 0; h < in.columns; ++h) out(s, h) = in(s, h) * mask(tokens, b, t, h);
      }
  });
}

void ReferenceBackend::residual_layer_norm_forward(const DeviceTexts& texts, ConstTensor residual, ConstTensor branch, Dropout dropout,
                                                   ConstTensor gamma, ConstTensor beta, double eps, Tensor sum, Tensor y, Tensor mean,
                                                   Tensor rstd) {
  checks::same("residual_layer_norm_forward", "residual", branch, residual);
  checks::same("residual_layer_norm_forward", "sum", branch, sum);
  this->dropout(texts, branch, dropout, sum);
  axpy(1, residual, sum);
  layer_norm_forward(sum, gamma, beta, eps, y, mean, rstd);
}

void ReferenceBackend::residual_layer_norm_backward(const DeviceTexts& texts, ConstTensor dy, ConstTensor sum, Dropout dropout,
                                                    ConstTensor gamma, ConstTensor mean, ConstTensor rstd, Tensor d_residual,
                                                    Tensor d_branch, Tensor d_gamma, Tensor d_beta) {
  layer_norm_backward(dy, sum, gamma, mean, rstd, d_residual, d_gamma, d_beta);
  this->dropout(texts, d_residual, dropout, d_branch);
}

}  // namespace lodestone
