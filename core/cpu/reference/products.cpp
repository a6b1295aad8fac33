// Reference loops: matrix products and column sums.
#include "core/cpu/checks.h"
#include "core/cpu/reference/reference_backend.h"
#include "core/cpu/reference/views.h"

namespace lodestone {

using reference::for_dtype;
using reference::read;
using reference::write;

void ReferenceBackend::linear(ConstTensor x, ConstTensor weight, ConstTensor bias, Tensor y) {
  checks::linear(x, weight, bias, y);
  gemm(Op::none, x, Op::transpose, weight, 1, 0, y);
  if (bias.empty()) return;
  for_dtype("linear", x.dtype(), [&]<class T>(T) {
    const auto b = read<T>(bias);
    const auto out = write<T>(y);
    for (int64_t i = 0; i < out.rows; ++i)
      for (int64_t j = 0; j < out.columns; ++j) out(i, j) += b[j];
  });
}

// The loop order keeps the inner loop contiguous in b: along n where b is [K,N], along k where it is [N,K].
void ReferenceBackend::gemm(Op op_a, ConstTensor a, Op op_b, ConstTensor b, double alpha, double beta, Tensor c) {
  const checks::ProductDims d = checks::gemm(op_a, a, op_b, b, c);
  for_dtype("gemm", a.dtype(), [&]<class T>(T) {
    const auto left = read<T>(a), right = read<T>(b);
    const auto out = write<T>(c);
    const auto left_at = [&](int64_t i, int64_t k) { return op_a == Op::none ? left(i, k) : left(k, i); };
    for (int64_t i = 0; i < d.m; ++i) {
      for (int64_t j = 0; j < d.n; ++j) out(i, j) = beta == 0 ? T{0} : static_cast<T>(beta) * out(i, j);
      if (op_b == Op::none) {
        for (int64_t k = 0; k < d.k; ++k) {
          const T factor = static_cast<T>(alpha) * left_at(i, k);
          for (int64_t j = 0; j < d.n; ++j) out(i, j) += factor * right(k, j);
        }
      } else {
        for (int64_t j = 0; j < d.n; ++j) {
          T sum = 0;
          for (int64_t k = 0; k < d.k; ++k) sum += left_at(i, k) * right(j, k);
          out(i, j) += static_cast<T>(alpha) * sum;
        }
      }
    }
  });
}

void ReferenceBackend::column_sums(ConstTensor x, Tensor sums) {
  checks::column_sums(x, sums);
  for_dtype("column_sums", x.dtype(), [&]<class T>(T) {
    const auto in = read<T>(x);
    const auto out = write<T>(sums);
    for (int64_t i = 0; i < in.rows; ++i)
      for (int64_t j = 0; j < in.columns; ++j) out[j] += in(i, j);
  });
}

}  // namespace lodestone
