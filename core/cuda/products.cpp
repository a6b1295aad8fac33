#include "core/cuda/products.h"

#include <algorithm>
#include <bit>

#include "core/cuda/cuda_call.h"

namespace lodestone::cuda {

namespace {

constexpr size_t workspace_bytes = size_t{32} << 20;  // what the library's own advice for Hopper is

[[noreturn]] void refuse(cublasStatus_t status, const std::string& what) {
  throw Error(ExitCode::resource, "F47", cat(what, ": cuBLASLt says ", static_cast<int>(status), ", ", cublasLtGetStatusString(status)),
              "start the same command again; if it happens again, test this GPU, or take another version of cuBLAS");
}

void need(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) refuse(status, what);
}

/// What the library answers to a product, or an epilogue, that it has not got.
bool knows_no_way(cublasStatus_t status) {
  return status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE || status == CUBLAS_STATUS_ARCH_MISMATCH;
}

cudaDataType_t type_of(DType dtype) { return dtype == DType::f64 ? CUDA_R_64F : dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

/// The largest power of two up to `most` that divides the address.
uint32_t alignment_of(ConstTensor x, uintptr_t most) { return uint32_t{1} << std::countr_zero(std::bit_cast<uintptr_t>(x.bytes()) | most); }
/// Of an operand. An arena promises 64 wherever a tensor lies in it: with more, the choice of an algorithm, and so the bits of a product,
/// could depend on what else is kept.
uint32_t alignment_of(ConstTensor x) { return alignment_of(x, 64); }
/// Of a bias, or of what becomes its gradient: these lie where they lie, and a library may look at their address itself.
uint32_t alignment_of_vector(ConstTensor x) { return alignment_of(x, 256); }

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

/// What an epilogue reads or writes beside c, or nothing.
ConstTensor vector_of(const Product& p) { return p.bias.empty() ? ConstTensor(p.row_sums) : p.bias; }

cublasLtEpilogue_t epilogue_of(const Product& p) {
  if (!p.bias.empty()) return CUBLASLT_EPILOGUE_BIAS;
  return p.row_sums.empty() ? CUBLASLT_EPILOGUE_DEFAULT : CUBLASLT_EPILOGUE_BGRADB;
}

}  // namespace

/// A product as the library has it described, with its operands' layouts.
class Products::Operation {
 public:
  explicit Operation(const Product& p) : a(p.b), b(p.a), c(p.c) {
    const bool f64 = p.a.dtype() == DType::f64;
    need(cublasLtMatmulDescCreate(&handle_, f64 ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F, f64 ? CUDA_R_64F : CUDA_R_32F), "a product");
    // The library's first operand is our second one: c^T = op(b)^T op(a)^T.
    set(CUBLASLT_MATMUL_DESC_TRANSA, p.op_b == Op::none ? CUBLAS_OP_N : CUBLAS_OP_T);
    set(CUBLASLT_MATMUL_DESC_TRANSB, p.op_a == Op::none ? CUBLAS_OP_N : CUBLAS_OP_T);
    const cublasLtEpilogue_t epilogue = epilogue_of(p);
    if (epilogue == CUBLASLT_EPILOGUE_DEFAULT) return;
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(vector_of(p).bytes()));
  }
  ~Operation() { cublasLtMatmulDescDestroy(handle_); }
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  cublasLtMatmulDesc_t get() const { return handle_; }

  const Layout a, b, c;

 private:
  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    need(cublasLtMatmulDescSetAttribute(handle_, attribute, &value, sizeof value), "a product");
  }
  cublasLtMatmulDesc_t handle_ = nullptr;
};

namespace {

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

Products::Choice& Products::choice(const Product& p, const Operation& operation) {
  const Shape shape{p.op_a,
                    p.op_b,
                    p.a.dtype(),
                    p.c.dtype(),
                    p.c.dim(0),
                    p.c.dim(1),
                    p.a.dim(p.op_a == Op::none ? 1 : 0),
                    p.beta != 0,
                    epilogue_of(p),
                    {alignment_of(p.a), alignment_of(p.b), alignment_of(p.c), alignment_of_vector(vector_of(p))}};
  const auto [found, is_new] = chosen_.try_emplace(shape);
  Choice& made = found->second;
  if (!is_new) return made;
  const Preference preference(p.a, p.b, p.c);
  cublasLtMatmulHeuristicResult_t result{};
  int results = 0;
  made.status = cublasLtMatmulAlgoGetHeuristic(library_, operation.get(), operation.a.get(), operation.b.get(), operation.c.get(),
                                               operation.c.get(), preference.get(), 1, &result, &results);
  if (made.status == CUBLAS_STATUS_SUCCESS) made.status = results > 0 ? result.state : CUBLAS_STATUS_NOT_SUPPORTED;
  made.algorithm = result.algo;
  return made;
}

cublasStatus_t Products::enqueue(const Product& p) {
  const Operation operation(p);
  Choice& chosen = choice(p, operation);
  if (chosen.status != CUBLAS_STATUS_SUCCESS) return chosen.status;
  const auto alpha_f32 = static_cast<float>(p.alpha), beta_f32 = static_cast<float>(p.beta);
  const bool f64 = p.a.dtype() == DType::f64;
  const void* const alpha = f64 ? static_cast<const void*>(&p.alpha) : &alpha_f32;
  const void* const beta = f64 ? static_cast<const void*>(&p.beta) : &beta_f32;
  const cublasStatus_t status =
      cublasLtMatmul(library_, operation.get(), alpha, p.b.bytes(), operation.a.get(), p.a.bytes(), operation.b.get(), beta, p.c.bytes(),
                     operation.c.get(), p.c.bytes(), operation.c.get(), &chosen.algorithm, workspace_, workspace_bytes, stream_);
  if (knows_no_way(status)) chosen.status = status;
  return status;
}

void Products::run(const Product& p) {
  const cublasStatus_t status = enqueue(p);
  if (status != CUBLAS_STATUS_SUCCESS) refuse(status, describe(p));
}

bool Products::try_run(const Product& p) {
  const cublasStatus_t status = enqueue(p);
  if (status != CUBLAS_STATUS_SUCCESS && !knows_no_way(status)) refuse(status, describe(p));
  return status == CUBLAS_STATUS_SUCCESS;
}

}  // namespace lodestone::cuda
