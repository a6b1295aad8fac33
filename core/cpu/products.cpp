// Products: matrix products in f32 and bf16, through oneDNN.
#include "core/cpu/products.h"

#include <cmath>
#include <vector>

#include "core/cpu/native_bf16.h"

namespace lodestone {

namespace {

void check_library(dnnl_status_t status, const char* call) {
  LODE_CHECK(status == dnnl_success, call, " failed in oneDNN with status ", static_cast<int>(status));
}

/// Whether a native product equals the widened one, to the rounding of a bf16 result and of f32 sums of 64 terms.
bool agrees(std::span<const float> expected, ConstTensor c) {
  const bool wide = c.dtype() == DType::f32;
  for (size_t i = 0; i < expected.size(); ++i) {
    const float got = wide ? c.host<float>()[i] : static_cast<float>(c.host<bfloat16>()[i]);
    if (!(std::abs(got - expected[i]) <= (wide ? 1e-4f : 1e-2f) * (1 + std::abs(expected[i])))) return false;
  }
  return true;
}

/// Multiplies small matrices in each way that training uses, natively and as plain loops.
template <class Native>
bool native_products_are_right(Native& native) {
  constexpr int64_t m = 48, n = 32, k = 64;
  std::vector<bfloat16> a(m * k), b(n * k), rounded(m * n);
  std::vector<float> bias(n), wide(m * n, 1.0f);
  for (size_t i = 0; i < a.size(); ++i) a[i] = bfloat16(static_cast<float>(i % 13) * 0.125f - 0.75f);
  for (size_t i = 0; i < b.size(); ++i) b[i] = bfloat16(static_cast<float>(i % 7) * 0.25f - 0.75f);
  for (size_t i = 0; i < bias.size(); ++i) bias[i] = static_cast<float>(i);
  const auto product = [&](Op op_a, Op op_b, size_t i, size_t j) {
    float sum = 0;
    for (size_t d = 0; d < k; ++d)
      sum += static_cast<float>(op_a == Op::none ? a[i * k + d] : a[d * m + i]) *
             static_cast<float>(op_b == Op::none ? b[d * n + j] : b[j * k + d]);
    return sum;
  };
  const auto right = [&](Op op_a, Op op_b, ConstTensor bias_or_empty, bool add, Tensor c) {
    std::vector<float> expected(m * n);
    for (size_t i = 0; i < m; ++i)
      for (size_t j = 0; j < n; ++j)
        expected[i * n + j] = product(op_a, op_b, i, j) + (bias_or_empty.empty() ? 0 : bias[j]) + (add ? 1.0f : 0.0f);
    const Tensor left = view(std::span(a)).reshape(op_a == Op::none ? Shape{m, k} : Shape{k, m});
    const Tensor other = view(std::span(b)).reshape(op_b == Op::none ? Shape{k, n} : Shape{n, k});
    return native.multiply({m, n, k}, op_a, left, op_b, other, bias_or_empty, add, c.reshape({m, n})) && agrees(expected, c);
  };
  return right(Op::none, Op::transpose, view(std::span(bias)), false, view(std::span(rounded))) &&
         right(Op::none, Op::none, {}, false, view(std::span(rounded))) && right(Op::transpose, Op::none, {}, true, view(std::span(wide)));
}

}  // namespace

Products::Products(const Parallel& parallel, const vec::Table& table) : parallel_(parallel), table_(table) {
  if (!NativeBf16::processor_has_them()) return;
  omp_set_num_threads(parallel_.threads());
  auto native = std::make_unique<NativeBf16>();
  if (native_products_are_right(*native)) native_ = std::move(native);
}

Products::~Products() = default;

std::string Products::library() const {
  const dnnl_version_t* v = dnnl_version();
  return cat("oneDNN ", v->major, '.', v->minor, '.', v->patch);
}

void Products::sgemm(const checks::ProductDims& dims, Op op_a, const float* a, Op op_b, const float* b, double alpha, double beta,
                     float* c) const {
  omp_set_num_threads(parallel_.threads());  // the library asks OpenMP, whose setting belongs to the calling thread
  check_library(dnnl_sgemm(op_a == Op::none ? 'N' : 'T', op_b == Op::none ? 'N' : 'T', dims.m, dims.n, dims.k, static_cast<float>(alpha), a,
                           op_a == Op::none ? dims.k : dims.m, b, op_b == Op::none ? dims.n : dims.k, static_cast<float>(beta), c, dims.n),
                "dnnl_sgemm");
}

const float* Products::widened(ConstTensor x, Scratch& scratch) const {
  float* out = scratch.take<float>(x.count());
  const uint16_t* in = reinterpret_cast<const uint16_t*>(x.bytes());
  parallel_.ranges(x.count(), 4096, [&](int64_t begin, int64_t end) { table_.bf16.to_float(in + begin, out + begin, end - begin); });
  return out;
}

void Products::gemm(const checks::ProductDims& dims, Op op_a, ConstTensor a, Op op_b, ConstTensor b, double alpha, double beta, Tensor c) {
  if (a.dtype() == DType::f32)
    return sgemm(dims, op_a, a.host<float>().data(), op_b, b.host<float>().data(), alpha, beta, c.host<float>().data());
  if (native_ != nullptr && alpha == 1 && (beta == 0 || beta == 1)) {
    omp_set_num_threads(parallel_.threads());
    if (native_->multiply(dims, op_a, a, op_b, b, {}, beta == 1, c)) return;
  }
  const float *left = widened(a, a_), *right = widened(b, b_);
  if (c.dtype() == DType::f32) return sgemm(dims, op_a, left, op_b, right, alpha, beta, c.host<float>().data());
  const float* before = beta == 0 ? nullptr : widened(c, c_);
  float* result = before == nullptr ? c_.take<float>(c.count()) : const_cast<float*>(before);
  sgemm(dims, op_a, left, op_b, right, alpha, beta, result);
  uint16_t* out = reinterpret_cast<uint16_t*>(c.bytes());
  parallel_.ranges(c.count(), 4096, [&](int64_t begin, int64_t end) { table_.bf16.from_float(result + begin, out + begin, end - begin); });
}

void Products::linear(const checks::ProductDims& dims, ConstTensor x, ConstTensor weight, ConstTensor bias, Tensor y) {
  if (x.dtype() == DType::bf16 && native_ != nullptr) {
    omp_set_num_threads(parallel_.threads());
    if (native_->multiply(dims, Op::none, x, Op::transpose, weight, bias, false, y)) return;
  }
  const float* b = bias.empty() ? nullptr : bias.host<float>().data();
  const bool wide = x.dtype() == DType::f32;
  const float* left = wide ? x.host<float>().data() : widened(x, a_);
  const float* right = wide ? weight.host<float>().data() : widened(weight, b_);
  float* result = y.dtype() == DType::f32 ? y.host<float>().data() : c_.take<float>(y.count());
  sgemm(dims, Op::none, left, Op::transpose, right, 1, 0, result);
  parallel_.ranges(dims.m, 8, [&](int64_t begin, int64_t end) {
    if (y.dtype() == DType::bf16)
      table_.bf16.add_bias(result, b, reinterpret_cast<uint16_t*>(y.bytes()), dims.n, begin, end);
    else if (b != nullptr)
      table_.f32.add_bias(result, b, result, dims.n, begin, end);
  });
}

}  // namespace lodestone
