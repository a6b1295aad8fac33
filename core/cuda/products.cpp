#include "core/cuda/products.h"

#include <algorithm>
#include <bit>

#include "core/cuda/cuda_call.h"

namespace lodestone::cuda {

namespace {

constexpr size_t workspace_bytes = size_t{32} << 20;  // what the library's own advice for Hopper is

void need(cublasStatus_t status, const std::string& what) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(ExitCode::resource, "F47", cat(what, ": cuBLASLt says ", static_cast<int>(status), ", ", cublasLtGetStatusString(status)),
              "start the same command again; if it happens again, test this GPU, or take another version of cuBLAS");
}

cudaDataType_t type_of(DType dtype) { return dtype == DType::f64 ? CUDA_R_64F : dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

/// The largest power of two up to 256 that divides the address.
uint32_t alignment_of(ConstTensor x) {
  return uint32_t{1} << std::min(8, std::countr_zero(std::bit_cast<uintptr_t>(x.bytes()) | uintptr_t{256}));
}

/// A matrix [rows, columns] in the library's order, column after column: ours, row after row, is its transpose.
class Layout {
 public:
  Layout(ConstTensor x) {  // NOLINT: a matrix has one layout
    need(cublasLtMatrixLayoutCreate(&handle_, type_of(x.dtype()), static_cast<uint64_t>(x.dim(1)), static_cast<uint64_t>(x.dim(0)),
                                    x.dim(1)),
         "a layout");
  }
  ~Layout() { cublasLtMatrixLayoutDestroy(handle_); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
  cublasLtMatrixLayout_t get() const { return handle_; }

 private:
  cublasLtMatrixLayout_t handle_ = nullptr;
};

class Operation {
 public:
  explicit Operation(const Product& p) {
    const bool f64 = p.a.dtype() == DType::f64;
    need(cublasLtMatmulDescCreate(&handle_, f64 ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F, f64 ? CUDA_R_64F : CUDA_R_32F), "a product");
    // The library's first operand is our second one: c^T = op(b)^T op(a)^T.
    set(CUBLASLT_MATMUL_DESC_TRANSA, p.op_b == Op::none ? CUBLAS_OP_N : CUBLAS_OP_T);
    set(CUBLASLT_MATMUL_DESC_TRANSB, p.op_a == Op::none ? CUBLAS_OP_N : CUBLAS_OP_T);
    if (p.bias.empty()) return;
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(p.bias.bytes()));
  }
  ~Operation() { cublasLtMatmulDescDestroy(handle_); }
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  cublasLtMatmulDesc_t get() const { return handle_; }

 private:
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    need(cublasLtMatmulDescSetAttribute(handle_, attribute, &value, sizeof value), "a product");
  }
  cublasLtMatmulDesc_t handle_ = nullptr;
};

class Preference {
 public:
  Preference(ConstTensor a, ConstTensor b, ConstTensor c) {
    need(cublasLtMatmulPreferenceCreate(&handle_), "a preference");
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes);
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(b));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(a));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(c));
    set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(c));
  }
  ~Preference() { cublasLtMatmulPreferenceDestroy(handle_); }
  Preference(const Preference&) = delete;
  Preference& operator=(const Preference&) = delete;
  cublasLtMatmulPreference_t get() const { return handle_; }

 private:
  template <class T>
  void set(cublasLtMatmulPreferenceAttributes_t attribute, const T& value) {
    need(cublasLtMatmulPreferenceSetAttribute(handle_, attribute, &value, sizeof value), "a preference");
  }
  cublasLtMatmulPreference_t handle_ = nullptr;
};

std::string describe(const Product& p) {
  const auto operand = [](Op op, ConstTensor x) { return cat(name_of(x.dtype()), ' ', x.shape(), op == Op::none ? "" : "^T"); };
  return cat("the product of ", operand(p.op_a, p.a), " and ", operand(p.op_b, p.b), " into ", operand(Op::none, p.c));
}

}  // namespace

Products::Products(cudaStream_t stream, Memory& memory) : stream_(stream), memory_(memory) {
  need(cublasLtCreate(&library_), "the start of cuBLASLt");
  workspace_ = memory_.reserve(workspace_bytes);
}

Products::~Products() {
  memory_.release(workspace_, workspace_bytes);
  cublasLtDestroy(library_);
}

void Products::run(const Product& p) {
  const Operation operation(p);
  const Layout a(p.b), b(p.a), c(p.c);
  const Shape shape{
      p.op_a,      p.op_b,          p.a.dtype(),       p.c.dtype(),       p.c.dim(0),       p.c.dim(1), p.a.dim(p.op_a == Op::none ? 1 : 0),
      p.beta != 0, !p.bias.empty(), alignment_of(p.a), alignment_of(p.b), alignment_of(p.c)};
  auto found = chosen_.find(shape);
  if (found == chosen_.end()) {
    const Preference preference(p.a, p.b, p.c);
    cublasLtMatmulHeuristicResult_t result{};
    int results = 0;
    need(cublasLtMatmulAlgoGetHeuristic(library_, operation.get(), a.get(), b.get(), c.get(), c.get(), preference.get(), 1, &result,
                                        &results),
         describe(p));
    need(results > 0 ? result.state : CUBLAS_STATUS_NOT_SUPPORTED, describe(p));
    found = chosen_.emplace(shape, result.algo).first;
  }
  const auto alpha_f32 = static_cast<float>(p.alpha), beta_f32 = static_cast<float>(p.beta);
  const bool f64 = p.a.dtype() == DType::f64;
  const void* const alpha = f64 ? static_cast<const void*>(&p.alpha) : &alpha_f32;
  const void* const beta = f64 ? static_cast<const void*>(&p.beta) : &beta_f32;
  need(cublasLtMatmul(library_, operation.get(), alpha, p.b.bytes(), a.get(), p.a.bytes(), b.get(), beta, p.c.bytes(), c.get(), p.c.bytes(),
                      c.get(), &found->second, workspace_, workspace_bytes, stream_),
       describe(p));
}

}  // namespace lodestone::cuda
