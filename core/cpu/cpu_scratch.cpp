// CpuBackend: what it holds beside the arena, and what it would hold after operations that are not run.
#include "core/checks.h"
#include "core/cpu/cpu_backend.h"
#include "core/cpu/native_bf16.h"
#include "core/cpu/scratch_sizes.h"
#include "core/scratch_model.h"

namespace lodestone {

namespace {

/// Bytes of x as f32.
size_t float_bytes(ConstTensor x) { return static_cast<size_t>(x.count()) * sizeof(float); }

/// What bf16 operands take that are multiplied in f32.
Products::ScratchBytes widened_bytes(ConstTensor a, ConstTensor b, ConstTensor c) {
  return {.a = float_bytes(a), .b = float_bytes(b), .c = c.dtype() == DType::f32 ? 0 : float_bytes(c)};
}

/// Decides as the operations of CpuBackend and Products do; f64 is left to the reference, which holds nothing.
class CpuScratchModel final : public ScratchModel {
 public:
  /// Begins with what products of the backend hold, and with `own_bytes` that it holds for other operations.
  CpuScratchModel(const Parallel& parallel, const vec::Table& table, const Products::ScratchBytes& product_bytes, size_t own_bytes)
      : parallel_(parallel), table_(table), products_(parallel_, table), product_bytes_(product_bytes), own_bytes_(own_bytes) {}

  size_t held_bytes() const override { return product_bytes_.total() + own_bytes_; }

  void linear(ConstTensor x, ConstTensor weight, ConstTensor bias, ConstTensor y) override {
    const checks::ProductDims dims = checks::linear(x, weight, bias, y);
    if (x.dtype() == DType::f64 || dims.m == 0 || dims.n == 0) return;
    grow(products_.linear_scratch(dims, x, weight, bias, y));
  }

  void gemm(Op op_a, ConstTensor a, Op op_b, ConstTensor b, double alpha, double beta, ConstTensor c) override {
    const checks::ProductDims dims = checks::gemm(op_a, a, op_b, b, c);
    if (a.dtype() == DType::f64 || dims.m == 0 || dims.n == 0 || dims.k == 0) return;
    grow(products_.gemm_scratch(dims, op_a, a, op_b, b, alpha, beta, c));
  }

  void norm_backward(ConstTensor x) override {
    if (x.dtype() != DType::f64) grow<float>(scratch_sizes::norm_partials(x.dim(0), x.dim(1)));
  }

  void attention(const DeviceTexts& texts, ConstTensor ctx, int64_t heads) override {
    if (ctx.dtype() != DType::f64) grow<float>(table_.attention_scratch(texts.longest, ctx.dim(1) / heads) * parallel_.threads());
  }

  void sum_squares(ConstTensor x) override {
    if (x.dtype() == DType::f32) grow<double>(scratch_sizes::square_partials(x.count()));
  }

 private:
  template <class T>
  void grow(int64_t count) {
    own_bytes_ = Scratch::grown(own_bytes_, static_cast<size_t>(count) * sizeof(T));
  }
  void grow(const Products::ScratchBytes& need) {
    product_bytes_.a = Scratch::grown(product_bytes_.a, need.a);
    product_bytes_.b = Scratch::grown(product_bytes_.b, need.b);
    product_bytes_.c = Scratch::grown(product_bytes_.c, need.c);
    product_bytes_.work = Scratch::grown(product_bytes_.work, need.work);
  }

  Parallel parallel_;
  const vec::Table& table_;
  Products products_;  // asked what it would take; multiplies nothing
  Products::ScratchBytes product_bytes_;
  size_t own_bytes_;
};

}  // namespace

std::optional<size_t> Products::NativeBf16::work_bytes(const checks::ProductDims& dims, Op op_a, Op op_b, ConstTensor bias, bool add,
                                                       ConstTensor c) {
  const Entry& entry = entry_of(key_of(dims, op_a, op_b, bias, add, c));
  if (!entry.primitive) return std::nullopt;
  return static_cast<size_t>(entry.work_bytes);
}

Products::ScratchBytes Products::held_scratch() const {
  return {.a = a_.size_bytes(), .b = b_.size_bytes(), .c = c_.size_bytes(), .work = native_ == nullptr ? 0 : native_->held_bytes()};
}

Products::ScratchBytes Products::gemm_scratch(const checks::ProductDims& dims, Op op_a, ConstTensor a, Op op_b, ConstTensor b, double alpha,
                                              double beta, ConstTensor c) {
  if (a.dtype() == DType::f32) return {};
  if (native_ != nullptr && alpha == 1 && (beta == 0 || beta == 1)) {
    omp_set_num_threads(parallel_.threads());  // as for the product: the library plans for so many
    if (const auto work = native_->work_bytes(dims, op_a, op_b, {}, beta == 1, c)) return {.work = *work};
  }
  return widened_bytes(a, b, c);
}

Products::ScratchBytes Products::linear_scratch(const checks::ProductDims& dims, ConstTensor x, ConstTensor weight, ConstTensor bias,
                                                ConstTensor y) {
  if (x.dtype() == DType::f32) return {};
  if (native_ != nullptr) {
    omp_set_num_threads(parallel_.threads());
    if (const auto work = native_->work_bytes(dims, Op::none, Op::transpose, bias, false, y)) return {.work = *work};
  }
  return widened_bytes(x, weight, y);
}

size_t CpuBackend::held_scratch_bytes() const { return products_.held_scratch().total() + scratch_.size_bytes(); }

std::unique_ptr<ScratchModel> CpuBackend::scratch_model() const {
  return std::make_unique<CpuScratchModel>(parallel_, table_, products_.held_scratch(), scratch_.size_bytes());
}

}  // namespace lodestone
