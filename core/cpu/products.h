// Products: matrix products in f32 and bf16, through oneDNN.
#pragma once

#include <map>
#include <memory>

#include "core/backend.h"
#include "core/checks.h"
#include "core/cpu/parallel.h"
#include "core/cpu/scratch.h"
#include "core/cpu/vector/table.h"

namespace lodestone {

/// c = alpha op(a) op(b) + beta c, or op(a) op(b) + bias. Operands are checked by the caller.
/// f32 goes through the library's plain sgemm, which needs no object per shape.
/// bf16 goes through matmul primitives, cached per shape, where the processor multiplies bf16 itself. Elsewhere operands
/// are widened to f32 scratch, multiplied there, and the result is rounded once.
class Products {
 public:
  Products(const Parallel& parallel, const vec::Table& table);
  ~Products();

  /// Whether bf16 products run natively: the processor has them, and small products gave the right result here.
  bool native_bf16() const { return native_ != nullptr; }
  std::string library() const;  // "oneDNN 2.6.3"

  void gemm(const checks::ProductDims& dims, Op op_a, ConstTensor a, Op op_b, ConstTensor b, double alpha, double beta, Tensor c);
  /// c = a op(b) + bias, bias f32 [N] or empty.
  void linear(const checks::ProductDims& dims, ConstTensor a, ConstTensor b, ConstTensor bias, Tensor c);

  /// Bytes of each of its scratch memories: f32 copies of the first operand, the second and the result, and work memory of the library.
  struct ScratchBytes {
    size_t a = 0, b = 0, c = 0, work = 0;
    size_t total() const { return a + b + c + work; }
  };
  ScratchBytes held_scratch() const;
  /// What gemm() and linear() with such operands take, whose bytes are not read. Makes the primitive of a shape not seen before.
  ScratchBytes gemm_scratch(const checks::ProductDims& dims, Op op_a, ConstTensor a, Op op_b, ConstTensor b, double alpha, double beta,
                            ConstTensor c);
  ScratchBytes linear_scratch(const checks::ProductDims& dims, ConstTensor a, ConstTensor b, ConstTensor bias, ConstTensor c);

 private:
  class NativeBf16;

  void sgemm(const checks::ProductDims& dims, Op op_a, const float* a, Op op_b, const float* b, double alpha, double beta, float* c) const;
  const float* widened(ConstTensor x, Scratch& scratch) const;

  const Parallel& parallel_;
  const vec::Table& table_;
  Scratch a_, b_, c_;                   // f32 copies of bf16 operands
  std::unique_ptr<NativeBf16> native_;  // null: bf16 is widened
};

}  // namespace lodestone
