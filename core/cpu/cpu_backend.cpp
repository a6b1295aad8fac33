// CpuBackend: construction, products and whole vectors.
#include "core/cpu/cpu_backend.h"

#include <cmath>

#include "core/checks.h"
#include "core/cpu/scratch_sizes.h"
#include "core/cpu/storage.h"

namespace lodestone {

namespace {

constexpr int64_t grain = 4096;  // elements below which another thread does not pay

}  // namespace

CpuBackend::CpuBackend(int threads, const vec::Table& table) : parallel_(threads), table_(table), products_(parallel_, table) {}

std::string CpuBackend::description() const {
  return cat("cpu: ", products_.library(), ", vector kernels x86-64-", table_.name, ", bf16 products ",
             products_.native_bf16() ? "native" : "widened to f32", ", ", threads(), threads() == 1 ? " thread" : " threads");
}

// f32 products need no object per shape, so padding would only be wasted work; native bf16 products are compiled for each.
int64_t CpuBackend::row_bucket() const { return products_.native_bf16() ? 32 : 8; }

void CpuBackend::linear(ConstTensor x, ConstTensor weight, ConstTensor bias, Tensor y) {
  if (x.dtype() == DType::f64) return ReferenceBackend::linear(x, weight, bias, y);
  const checks::ProductDims dims = checks::linear(x, weight, bias, y);
  if (dims.m > 0 && dims.n > 0) products_.linear(dims, x, weight, bias, y);
}

void CpuBackend::gemm(Op op_a, ConstTensor a, Op op_b, ConstTensor b, double alpha, double beta, Tensor c) {
  if (a.dtype() == DType::f64) return ReferenceBackend::gemm(op_a, a, op_b, b, alpha, beta, c);
  const checks::ProductDims dims = checks::gemm(op_a, a, op_b, b, c);
  if (dims.m == 0 || dims.n == 0) return;
  if (dims.k > 0) return products_.gemm(dims, op_a, a, op_b, b, alpha, beta, c);
  if (beta == 0)
    fill_zero(c);
  else
    axpy(beta - 1, c, c);  // nothing to add: c = beta c
}

void CpuBackend::column_sums(ConstTensor x, Tensor sums) {
  if (x.dtype() == DType::f64) return ReferenceBackend::column_sums(x, sums);
  checks::column_sums(x, sums);
  by_storage(table_, x.dtype(), [&]<class T>(const vec::Kernels<T>& kernels, T) {
    parallel_.ranges(x.dim(1), 64, [&](int64_t begin, int64_t end) {
      kernels.column_sums(elements<T>(x), x.dim(0), x.dim(1), begin, end, elements<float>(sums));
    });
  });
}

void CpuBackend::adamw(const AdamWStep& step, const std::vector<UpdateRun>& runs, ConstTensor g, Tensor p, Tensor m, Tensor v) {
  if (g.dtype() == DType::f64) return ReferenceBackend::adamw(step, runs, g, p, m, v);
  checks::adamw(step, runs, g, p, m, v);
  const double t = static_cast<double>(step.t);
  for (const UpdateRun& run : runs) {
    const vec::AdamW plain{static_cast<float>(step.lr),
                           static_cast<float>(step.beta1),
                           static_cast<float>(step.beta2),
                           static_cast<float>(step.eps),
                           run.decays ? static_cast<float>(step.weight_decay) : 0.0f,
                           static_cast<float>(step.gradient_scale),
                           static_cast<float>(1 / (1 - std::pow(step.beta1, t))),
                           static_cast<float>(1 / (1 - std::pow(step.beta2, t)))};
    parallel_.ranges(run.slice.count(), grain, [&](int64_t first, int64_t last) {
      const int64_t begin = run.slice.begin + first;
      table_.adamw(plain, elements<float>(g) + begin, elements<float>(p) + begin, elements<float>(m) + begin, elements<float>(v) + begin,
                   last - first);
    });
  }
}

void CpuBackend::sum_squares(ConstTensor x, Tensor total) {
  if (x.dtype() != DType::f32) return ReferenceBackend::sum_squares(x, total);
  checks::total("sum_squares", total);
  const int64_t square_block = scratch_sizes::square_block, count = x.count(), blocks = scratch_sizes::square_partials(count);
  double* partial = scratch_.take<double>(blocks);
  parallel_.ranges(blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      partial[i] = table_.sum_squares(elements<float>(x) + i * square_block, std::min(square_block, count - i * square_block));
  });
  double sum = 0;
  for (int64_t i = 0; i < blocks; ++i) sum += partial[i];
  total.host<double>()[0] = sum;
}

void CpuBackend::cast(ConstTensor x, Tensor y) {
  if (x.dtype() == y.dtype()) return copy(x, y);
  checks::shape("cast", "y", y, x.shape());
  if (x.dtype() == DType::f32 && y.dtype() == DType::bf16) {
    parallel_.ranges(x.count(), grain, [&](int64_t begin, int64_t end) {
      table_.bf16.from_float(elements<float>(x) + begin, elements<uint16_t>(y) + begin, end - begin);
    });
  } else if (x.dtype() == DType::bf16 && y.dtype() == DType::f32) {
    parallel_.ranges(x.count(), grain, [&](int64_t begin, int64_t end) {
      table_.bf16.to_float(elements<uint16_t>(x) + begin, elements<float>(y) + begin, end - begin);
    });
  } else {
    ReferenceBackend::cast(x, y);
  }
}

void CpuBackend::axpy(double alpha, ConstTensor x, Tensor y) {
  if (x.dtype() == DType::f64) return ReferenceBackend::axpy(alpha, x, y);
  checks::same("axpy", "y", x, y);
  by_storage(table_, x.dtype(), [&]<class T>(const vec::Kernels<T>& kernels, T) {
    parallel_.ranges(x.count(), grain, [&](int64_t begin, int64_t end) {
      kernels.axpy(static_cast<float>(alpha), elements<T>(x) + begin, elements<T>(y) + begin, end - begin);
    });
  });
}

void CpuBackend::fill_zero(Tensor x) {
  parallel_.ranges(static_cast<int64_t>(x.size_bytes()), 1 << 16,
                   [&](int64_t begin, int64_t end) { ReferenceBackend::fill_zero(Tensor(x.bytes() + begin, DType::u8, {end - begin})); });
}

}  // namespace lodestone
