// Reference loops: pooling, L2 normalisation, and the row statistics of losses.
#include <algorithm>
#include <cmath>

#include "core/checks.h"
#include "core/cpu/reference/reference_backend.h"
#include "core/cpu/reference/views.h"

namespace lodestone {

using reference::for_dtype;
using reference::read;
using reference::write;

namespace {

constexpr double smallest_norm = 1e-12;

/// What token t of a text of `length` tokens contributes to its vector. An empty text has the zero vector.
double pooling_weight(Pooling pooling, int64_t t, int64_t length) {
  switch (pooling) {
    case Pooling::cls:
      return t == 0 ? 1 : 0;
    case Pooling::mean:
      return 1.0 / static_cast<double>(length);
    case Pooling::last_token:
      return t == length - 1 ? 1 : 0;
  }
  throw_internal(__FILE__, __LINE__, "pooling", "no such pooling");
}

}  // namespace

void ReferenceBackend::pool_forward(const DeviceTexts& texts, ConstTensor x, Pooling pooling, Tensor y) {
  checks::pool("pool_forward", texts, x, y);
  const TokenBatch tokens = on_host(texts);
  for_dtype("pool_forward", x.dtype(), [&]<class T>(T) {
    const auto in = read<T>(x);
    const auto out = write<T>(y);
    for (int64_t b = 0; b < tokens.texts(); ++b) {
      for (int64_t h = 0; h < in.columns; ++h) out(b, h) = 0;
      for (int64_t t = 0; t < tokens.length(b); ++t) {
        const T weight = static_cast<T>(pooling_weight(pooling, t, tokens.length(b)));
        for (int64_t h = 0; h < in.columns; ++h) out(b, h) += weight * in(tokens.offsets[static_cast<size_t>(b)] + t, h);
      }
    }
  });
}

void ReferenceBackend::pool_backward(const DeviceTexts& texts, ConstTensor dy, Pooling pooling, Tensor dx) {
  checks::pool("pool_backward", texts, dx, dy);
  const TokenBatch tokens = on_host(texts);
  for_dtype("pool_backward", dx.dtype(), [&]<class T>(T) {
    const auto d = read<T>(dy);
    const auto out = write<T>(dx);
    for (int64_t b = 0; b < tokens.texts(); ++b)
      for (int64_t t = 0; t < tokens.length(b); ++t) {
        const T weight = static_cast<T>(pooling_weight(pooling, t, tokens.length(b)));
        for (int64_t h = 0; h < out.columns; ++h) out(tokens.offsets[static_cast<size_t>(b)] + t, h) = weight * d(b, h);
      }
  });
}

void ReferenceBackend::l2_normalize_forward(ConstTensor x, Tensor y, Tensor norms) {
  checks::l2_normalize("l2_normalize_forward", x, y, norms);
  for_dtype("l2_normalize_forward", x.dtype(), [&]<class T>(T) {
    const auto in = read<T>(x);
    const auto out = write<T>(y), norm = write<T>(norms);
    for (int64_t b = 0; b < out.rows; ++b) {
      T squares = 0;
      for (int64_t e = 0; e < out.columns; ++e) squares += in(b, e) * in(b, e);
      norm[b] = std::sqrt(squares);
      for (int64_t e = 0; e < out.columns; ++e) out(b, e) = in(b, e) / std::max(norm[b], static_cast<T>(smallest_norm));
    }
  });
}

// dx += (dy - y <y, dy>) / |x|; below the smallest norm the divisor is constant, so dx += dy / 1e-12.
void ReferenceBackend::l2_normalize_backward(ConstTensor dy, ConstTensor y, ConstTensor norms, Tensor dx) {
  checks::l2_normalize("l2_normalize_backward", dx, y, norms);
  checks::same("l2_normalize_backward", "dy", y, dy);
  for_dtype("l2_normalize_backward", dx.dtype(), [&]<class T>(T) {
    const auto d = read<T>(dy), normal = read<T>(y), norm = read<T>(norms);
    const auto out = write<T>(dx);
    for (int64_t b = 0; b < d.rows; ++b) {
      T along = 0;
      if (norm[b] > static_cast<T>(smallest_norm))
        for (int64_t e = 0; e < d.columns; ++e) along += normal(b, e) * d(b, e);
      for (int64_t e = 0; e < d.columns; ++e)
        out(b, e) += (d(b, e) - normal(b, e) * along) / std::max(norm[b], static_cast<T>(smallest_norm));
    }
  });
}

void ReferenceBackend::log_sum_exp_rows(ConstTensor x, double scale, Tensor lse) {
  checks::row_statistic("log_sum_exp_rows", x, lse);
  for_dtype("log_sum_exp_rows", x.dtype(), [&]<class T>(T) {
    const auto in = read<T>(x);
    const auto out = write<T>(lse);
    for (int64_t i = 0; i < in.rows; ++i) {
      T top = -INFINITY, sum = 0;
      for (int64_t j = 0; j < in.columns; ++j) top = std::max(top, static_cast<T>(scale) * in(i, j));
      if (std::isinf(top)) {  // no column, or all of them masked: the sum is exp(-inf)
        out[i] = top;
        continue;
      }
      for (int64_t j = 0; j < in.columns; ++j) sum += std::exp(static_cast<T>(scale) * in(i, j) - top);
      out[i] = top + std::log(sum);
    }
  });
}

void ReferenceBackend::softmax_rows(Tensor x, double scale, ConstTensor lse, double weight) {
  checks::row_statistic("softmax_rows", x, lse);
  for_dtype("softmax_rows", x.dtype(), [&]<class T>(T) {
    const auto out = write<T>(x);
    const auto statistic = read<T>(lse);
    for (int64_t i = 0; i < out.rows; ++i)
      for (int64_t j = 0; j < out.columns; ++j)
        out(i, j) = static_cast<T>(weight) * std::exp(static_cast<T>(scale) * out(i, j) - statistic[i]);
  });
}

}  // namespace lodestone
