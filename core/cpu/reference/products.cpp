// Reference loops: matrix products and column sums.
#include <algorithm>
#include <array>

#include "core/checks.h"
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

// Each element is summed along k in order. Several rows of c are made at once, so that b is read that many times less often.
void ReferenceBackend::gemm(Op op_a, ConstTensor a, Op op_b, ConstTensor b, double alpha, double beta, Tensor c) {
  constexpr int64_t rows_at_once = 8;
  const checks::ProductDims d = checks::gemm(op_a, a, op_b, b, c);
  for_dtype("gemm", a.dtype(), [&]<class T>(T) {
    const auto left = read<T>(a), right = read<T>(b);
    const auto out = write<T>(c);
    const auto left_at = [&](int64_t i, int64_t k) { return op_a == Op::none ? left(i, k) : left(k, i); };
    for (int64_t first = 0; first < d.m; first += rows_at_once) {
      const int64_t last = std::min(first + rows_at_once, d.m);
      for (int64_t i = first; i < last; ++i)
        for (int64_t j = 0; j < d.n; ++j) out(i, j) = beta == 0 ? T{0} : static_cast<T>(beta) * out(i, j);
      if (op_b == Op::none) {
        for (int64_t k = 0; k < d.k; ++k)
          for (int64_t i = first; i < last; ++i) {
            const T factor = static_cast<T>(alpha) * left_at(i, k);
            for (int64_t j = 0; j < d.n; ++j) out(i, j) += factor * right(k, j);
          }
      } else {
        for (int64_t j = 0; j < d.n; ++j) {
          std::array<T, rows_at_once> sums{};
          for (int64_t k = 0; k < d.k; ++k)
            for (int64_t i = first; i < last; ++i) sums[static_cast<size_t>(i - first)] += left_at(i, k) * right(j, k);
          for (int64_t i = first; i < last; ++i) out(i, j) += static_cast<T>(alpha) * sums[static_cast<size_t>(i - first)];
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
