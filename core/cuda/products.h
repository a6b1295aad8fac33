// Products: matrix products by cuBLASLt, row by row as everything here lies in memory.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <array>
#include <map>
#include <tuple>

#include "core/backend.h"

namespace lodestone::cuda {

/// c = alpha op(a) op(b) + beta c. op(a) [M,K], op(b) [K,N], c [M,N]. a and b f64, f32 or bf16 alike; c the same, or f32 for bf16. K > 0.
/// One of two epilogues may follow, with a vector of c's dtype (f32 or bf16) at a multiple of 16 bytes:
/// c += bias [N] in every row, or row_sums [M] = sums over K of op(a).
struct Product {
  Op op_a = Op::none, op_b = Op::none;
  ConstTensor a, b, bias{};
  Tensor c, row_sums{};
  double alpha = 1, beta = 0;
};

/// Sums of f32 and bf16 run in f32 (CUBLAS_COMPUTE_32F, no TF32), those of f64 in f64. The algorithm is what the library's heuristics
/// choose, once for each shape, and kept: the same shape always gives the same bits. One thread may call it.
class Products {
 public:
  /// Takes its workspace from `memory`, which must outlive it.
  Products(cudaStream_t stream, Memory& memory);
  ~Products();
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;

  /// Enqueued. Throws Error (resource, "F47") naming the shapes where the library knows no way or refuses.
  void run(const Product& product);
  /// The same of a product with an epilogue, but false where the library knows no way, which depends on GPU and version.
  bool try_run(const Product& product);

 private:
  class Operation;
  /// What the choice of an algorithm depends on: operations, dtypes, shape, whether c is read, epilogue, alignments.
  using Shape = std::tuple<Op, Op, DType, DType, int64_t, int64_t, int64_t, bool, cublasLtEpilogue_t, std::array<uint32_t, 4>>;
  /// How a shape is computed, or why it is not.
  struct Choice {
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    cublasLtMatmulAlgo_t algorithm{};
  };
  /// What is chosen when the shape is seen first.
  Choice& choice(const Product& product, const Operation& operation);
  /// Enqueued, or why not.
  cublasStatus_t enqueue(const Product& product);

  cudaStream_t stream_;
  Memory& memory_;
  cublasLtHandle_t library_ = nullptr;
  std::byte* workspace_ = nullptr;
  std::map<Shape, Choice> chosen_;
};

}  // namespace lodestone::cuda
