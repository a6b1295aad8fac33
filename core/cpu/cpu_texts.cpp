// CpuBackend: pooling, L2 normalisation, row statistics, cross-entropy, and choosing rows.
#include <cmath>
#include <cstring>

#include "core/checks.h"
#include "core/cpu/cpu_backend.h"
#include "core/cpu/reference/views.h"
#include "core/cpu/storage.h"

namespace lodestone {

namespace {

constexpr float smallest_norm = 1e-12f;

/// The tokens [begin, end) of a text whose mean is its vector. An empty text has none, and the zero vector.
struct PooledTokens {
  int64_t begin, end;
  int64_t count() const { return end - begin; }
  float weight() const { return 1.0f / static_cast<float>(std::max<int64_t>(count(), 1)); }
};

PooledTokens pooled_tokens(Pooling pooling, int64_t length) {
  switch (pooling) {
    case Pooling::cls:
      return {0, std::min<int64_t>(length, 1)};
    case Pooling::mean:
      return {0, length};
    case Pooling::last_token:
      return {std::max<int64_t>(length - 1, 0), length};
  }
  throw_internal(__FILE__, __LINE__, "pooling", "no such pooling");
}

}  // namespace

void CpuBackend::pool_forward(const DeviceTexts& texts, ConstTensor x, Pooling pooling, Tensor y) {
  if (x.dtype() == DType::f64) return ReferenceBackend::pool_forward(texts, x, pooling, y);
  checks::pool("pool_forward", texts, x, y);
  const TokenBatch tokens = on_host(texts);
  const int64_t hidden = x.dim(1);
  by_storage(table_, x.dtype(), [&]<class T>(const vec::Kernels<T>& kernels, T) {
    parallel_.ranges(tokens.texts(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const PooledTokens pooled = pooled_tokens(pooling, tokens.length(b));
        const int64_t first = tokens.offsets[static_cast<size_t>(b)] + pooled.begin;
        kernels.pool(elements<T>(x) + first * hidden, pooled.count(), pooled.weight(), elements<float>(y) + b * hidden, hidden);
      }
    });
  });
}

void CpuBackend::pool_backward(const DeviceTexts& texts, ConstTensor dy, Pooling pooling, Tensor dx) {
  if (dx.dtype() == DType::f64) return ReferenceBackend::pool_backward(texts, dy, pooling, dx);
  checks::pool("pool_backward", texts, dx, dy);
  const TokenBatch tokens = on_host(texts);
  const int64_t hidden = dx.dim(1);
  by_storage(table_, dx.dtype(), [&]<class T>(const vec::Kernels<T>& kernels, T) {
    parallel_.ranges(tokens.texts(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const PooledTokens pooled = pooled_tokens(pooling, tokens.length(b));
        for (int64_t t = 0; t < tokens.length(b); ++t) {
          const float weight = t >= pooled.begin && t < pooled.end ? pooled.weight() : 0.0f;
          kernels.scale(elements<float>(dy) + b * hidden, weight, elements<T>(dx) + (tokens.offsets[static_cast<size_t>(b)] + t) * hidden,
                        hidden);
        }
      }
    });
  });
}

void CpuBackend::l2_normalize_forward(ConstTensor x, Tensor y, Tensor norms) {
  if (x.dtype() == DType::f64) return ReferenceBackend::l2_normalize_forward(x, y, norms);
  checks::l2_normalize("l2_normalize_forward", x, y, norms);
  const int64_t columns = y.dim(1);
  parallel_.ranges(x.dim(0), 8, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const float* in = elements<float>(x) + b * x.dim(1);
      const float norm = table_.l2_norm(in, columns);
      elements<float>(norms)[b] = norm;
      table_.f32.scale(in, 1.0f / std::max(norm, smallest_norm), elements<float>(y) + b * columns, columns);
    }
  });
}

// dx += (dy - y <y, dy>) / |x|; below the smallest norm the divisor is constant, so dx += dy / 1e-12.
void CpuBackend::l2_normalize_backward(ConstTensor dy, ConstTensor y, ConstTensor norms, Tensor dx) {
  if (dx.dtype() == DType::f64) return ReferenceBackend::l2_normalize_backward(dy, y, norms, dx);
  checks::l2_normalize("l2_normalize_backward", dx, y, norms);
  checks::same("l2_normalize_backward", "dy", y, dy);
  const int64_t columns = y.dim(1);
  parallel_.ranges(dx.dim(0), 8, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const float *d = elements<float>(dy) + b * columns, *normal = elements<float>(y) + b * columns;
      const float norm = elements<float>(norms)[b], inverse = 1.0f / std::max(norm, smallest_norm);
      float* out = elements<float>(dx) + b * dx.dim(1);
      table_.f32.axpy(inverse, d, out, columns);
      if (norm > smallest_norm) table_.f32.axpy(-table_.dot(normal, d, columns) * inverse, normal, out, columns);
    }
  });
}

void CpuBackend::log_sum_exp_rows(ConstTensor x, double scale, Tensor lse) {
  if (x.dtype() == DType::f64) return ReferenceBackend::log_sum_exp_rows(x, scale, lse);
  checks::row_statistic("log_sum_exp_rows", x, lse);
  parallel_.ranges(x.dim(0), 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      elements<float>(lse)[i] = table_.log_sum_exp(elements<float>(x) + i * x.dim(1), x.dim(1), static_cast<float>(scale));
  });
}

void CpuBackend::softmax_rows(Tensor x, double scale, ConstTensor lse, double weight) {
  if (x.dtype() == DType::f64) return ReferenceBackend::softmax_rows(x, scale, lse, weight);
  checks::row_statistic("softmax_rows", x, lse);
  parallel_.ranges(x.dim(0), 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      table_.softmax(elements<float>(x) + i * x.dim(1), x.dim(1), static_cast<float>(scale), elements<float>(lse)[i],
                     static_cast<float>(weight));
  });
}

void CpuBackend::cross_entropy_forward(ConstTensor logits, ConstTensor labels, int64_t first, Tensor lse, Tensor target) {
  if (logits.dtype() == DType::f64) return ReferenceBackend::cross_entropy_forward(logits, labels, first, lse, target);
  checks::cross_entropy("cross_entropy_forward", logits, labels, lse);
  checks::row_statistic("cross_entropy_forward", logits, target);
  const int64_t columns = logits.dim(1);
  const auto label = labels.host<int32_t>();
  parallel_.ranges(logits.dim(0), 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* row = elements<float>(logits) + i * columns;
      const float sum = table_.log_sum_exp(row, columns, 1.0f), before = elements<float>(lse)[i];
      const float top = first == 0 ? sum : std::max(sum, before), low = first == 0 ? sum : std::min(sum, before);
      elements<float>(lse)[i] = first == 0 ? sum : top + std::log1p(std::exp(low - top));
      const int64_t j = label[static_cast<size_t>(i)] - first;
      if (j >= 0 && j < columns) elements<float>(target)[i] = row[j];
    }
  });
}

void CpuBackend::cross_entropy_backward(Tensor logits, ConstTensor labels, int64_t first, ConstTensor lse, double weight, Tensor d_logits) {
  if (logits.dtype() == DType::f64) return ReferenceBackend::cross_entropy_backward(logits, labels, first, lse, weight, d_logits);
  const char* op = "cross_entropy_backward";
  checks::cross_entropy(op, logits, labels, lse);
  checks::shape(op, "d_logits", d_logits, logits.shape());
  if (d_logits.dtype() != DType::bf16) checks::dtype(op, "d_logits", d_logits, DType::f32);
  const int64_t columns = logits.dim(1);
  const auto label = labels.host<int32_t>();
  by_storage(table_, d_logits.dtype(), [&]<class T>(const vec::Kernels<T>& kernels, T) {
    parallel_.ranges(logits.dim(0), 4, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        float* row = elements<float>(logits) + i * columns;
        table_.softmax(row, columns, 1.0f, elements<float>(lse)[i], static_cast<float>(weight));
        const int64_t j = label[static_cast<size_t>(i)] - first;
        if (j >= 0 && j < columns) row[j] -= static_cast<float>(weight);
        if (d_logits.bytes() != logits.bytes()) kernels.from_float(row, elements<T>(d_logits) + i * columns, columns);
      }
    });
  });
}

void CpuBackend::select_rows(ConstTensor x, ConstTensor places, Tensor y) {
  checks::chosen_rows("select_rows", x, places, y);
  const int64_t row = x.dim(1) * static_cast<int64_t>(size_of(x.dtype()));
  const auto place = reference::places_below("select_rows", places, x.dim(0));
  parallel_.ranges(std::ssize(place), 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(y.bytes() + i * row, x.bytes() + place[static_cast<size_t>(i)] * row, static_cast<size_t>(row));
  });
}

void CpuBackend::place_rows(ConstTensor x, ConstTensor places, Tensor y) {
  checks::chosen_rows("place_rows", y, places, x);
  const int64_t row = x.dim(1) * static_cast<int64_t>(size_of(x.dtype()));
  const auto place = reference::places_below("place_rows", places, y.dim(0));
  parallel_.ranges(std::ssize(place), 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(y.bytes() + place[static_cast<size_t>(i)] * row, x.bytes() + i * row, static_cast<size_t>(row));
  });
}

}  // namespace lodestone
