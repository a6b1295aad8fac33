// The double of cuBLASLt's four functions that want a GPU. Descriptors, layouts and preferences are the real library's: what a product
// means is read back from them. Checks what the real library does not: leading dimensions, alignments, and that memory lies where it
// should.
#include "tests/cuda/doubles/cublaslt.h"

#include <cublasLt.h>
#include <cuda_bf16.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "tests/cuda/doubles/counts.h"
#include "tests/cuda/doubles/graphs.h"
#include "tests/cuda/doubles/runtime.h"
#include "tests/cuda/doubles/streams.h"

namespace lodestone::doubles {

namespace {

int64_t leading_dimension_error = 0;
Refusal epilogues_refused = Refusal::none;

/// A matrix in the library's order, column after column.
struct Matrix {
  cudaDataType_t type{};
  uint64_t rows = 0, columns = 0;
  int64_t leading = 0;

  explicit Matrix(cublasLtMatrixLayout_t layout) {
    read(layout, CUBLASLT_MATRIX_LAYOUT_TYPE, type);
    read(layout, CUBLASLT_MATRIX_LAYOUT_ROWS, rows);
    read(layout, CUBLASLT_MATRIX_LAYOUT_COLS, columns);
    read(layout, CUBLASLT_MATRIX_LAYOUT_LD, leading);
    if (leading < static_cast<int64_t>(rows)) fail("a leading dimension smaller than a column");
    leading += leading_dimension_error;
  }
  template <class T>
  static void read(cublasLtMatrixLayout_t layout, cublasLtMatrixLayoutAttribute_t attribute, T& value) {
    size_t written = 0;
    if (cublasLtMatrixLayoutGetAttribute(layout, attribute, &value, sizeof value, &written) != CUBLAS_STATUS_SUCCESS ||
        written != sizeof value)
      fail("a layout that cannot be read");
  }
  size_t place(uint64_t row, uint64_t column) const { return row + column * static_cast<uint64_t>(leading); }
  double get(const void* data, uint64_t row, uint64_t column) const {
    switch (type) {
      case CUDA_R_64F:
        return static_cast<const double*>(data)[place(row, column)];
      case CUDA_R_32F:
        return static_cast<const float*>(data)[place(row, column)];
      case CUDA_R_16BF:
        return __bfloat162float(static_cast<const __nv_bfloat16*>(data)[place(row, column)]);
      default:
        fail("a type that is not used here");
    }
  }
  void set(void* data, uint64_t row, uint64_t column, double value) const {
    switch (type) {
      case CUDA_R_64F:
        static_cast<double*>(data)[place(row, column)] = value;
        return;
      case CUDA_R_32F:
        static_cast<float*>(data)[place(row, column)] = static_cast<float>(value);
        return;
      case CUDA_R_16BF:
        static_cast<__nv_bfloat16*>(data)[place(row, column)] = __float2bfloat16(static_cast<float>(value));
        return;
      default:
        fail("a type that is not used here");
    }
  }
};

template <class T>
T attribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t which) {
  T value{};
  size_t written = 0;
  if (cublasLtMatmulDescGetAttribute(desc, which, &value, sizeof value, &written) != CUBLAS_STATUS_SUCCESS || written != sizeof value)
    fail("a product that cannot be read");
  return value;
}

double sum_in_f32(const std::vector<double>& x) {
  float sum = 0;
  for (const double value : x) sum += static_cast<float>(value);
  return sum;
}

/// What a call asks for, by value.
struct Call {
  Matrix a, b, d;
  cublasOperation_t op_a, op_b;
  bool f64;
  const void *a_data, *b_data, *bias;
  void *d_data, *column_sums;
  double alpha, beta;

  void run() const {
    const uint64_t depth = op_a == CUBLAS_OP_N ? a.columns : a.rows;
    std::vector<double> column(depth);
    for (uint64_t j = 0; j < d.columns; ++j) {
      for (uint64_t k = 0; k < depth; ++k) column[k] = op_b == CUBLAS_OP_N ? b.get(b_data, k, j) : b.get(b_data, j, k);
      for (uint64_t i = 0; i < d.rows; ++i) d.set(d_data, i, j, element(column, i, j));
      if (column_sums != nullptr) d.set(column_sums, j, 0, sum_in_f32(column));  // a vector lies as d's first column
    }
  }
  double element(const std::vector<double>& column, uint64_t i, uint64_t j) const {
    double exact = 0;
    float rounded = 0;
    for (uint64_t k = 0; k < column.size(); ++k) {
      const double x = op_a == CUBLAS_OP_N ? a.get(a_data, i, k) : a.get(a_data, k, i);
      exact += x * column[k];
      rounded += static_cast<float>(x) * static_cast<float>(column[k]);
    }
    const double before = beta == 0 ? 0 : beta * d.get(d_data, i, j);
    double value = alpha * (f64 ? exact : rounded) + before;
    return bias == nullptr ? value : value + d.get(bias, i, 0);
  }
};

bool aligned(const void* p, size_t bytes) { return reinterpret_cast<uintptr_t>(p) % bytes == 0; }

}  // namespace

void spoil_leading_dimensions(int64_t by) { leading_dimension_error = by; }
void refuse_epilogues(Refusal refusal) { epilogues_refused = refusal; }

}  // namespace lodestone::doubles

using namespace lodestone::doubles;

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  static int library = 0;
  *handle = reinterpret_cast<cublasLtHandle_t>(&library);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t) { return CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatmulPreference_t preference,
                                              int wanted, cublasLtMatmulHeuristicResult_t* results, int* found) {
  ++counts().choices;
  // What was promised of alignments is kept with the algorithm, and looked at when it runs.
  uint32_t alignments[4] = {};
  const cublasLtMatmulPreferenceAttributes_t names[] = {
      CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
  for (size_t i = 0; i < 3; ++i) {
    size_t written = 0;
    if (cublasLtMatmulPreferenceGetAttribute(preference, names[i], &alignments[i], sizeof alignments[i], &written) != CUBLAS_STATUS_SUCCESS)
      return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (wanted < 1) return CUBLAS_STATUS_INVALID_VALUE;
  if (attribute<uint32_t>(desc, CUBLASLT_MATMUL_DESC_EPILOGUE) != CUBLASLT_EPILOGUE_DEFAULT) {
    if (epilogues_refused == Refusal::by_heuristic) return CUBLAS_STATUS_NOT_SUPPORTED;
    const auto address = reinterpret_cast<uintptr_t>(attribute<void*>(desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER));
    alignments[3] = uint32_t{1} << std::min(8, std::countr_zero(address | 256));
  }
  results[0] = {};
  static_assert(sizeof alignments <= sizeof results[0].algo);
  std::memcpy(&results[0].algo, alignments, sizeof alignments);
  results[0].state = CUBLAS_STATUS_SUCCESS;
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void* alpha, const void* a_data, cublasLtMatrixLayout_t a,
                              const void* b_data, cublasLtMatrixLayout_t b, const void* beta, const void* c_data, cublasLtMatrixLayout_t,
                              void* d_data, cublasLtMatrixLayout_t d, const cublasLtMatmulAlgo_t* algo, void*, size_t,
                              cudaStream_t stream) {
  if (result_of("cublasLtMatmul") != cudaSuccess) return CUBLAS_STATUS_EXECUTION_FAILED;
  const auto epilogue = attribute<uint32_t>(desc, CUBLASLT_MATMUL_DESC_EPILOGUE);
  if (epilogue != CUBLASLT_EPILOGUE_DEFAULT && epilogues_refused == Refusal::by_product) return CUBLAS_STATUS_INVALID_VALUE;
  if (counted(stream, counts().products) != cudaSuccess) return CUBLAS_STATUS_EXECUTION_FAILED;
  if (dropping()) return CUBLAS_STATUS_SUCCESS;
  uint32_t alignments[4] = {};
  std::memcpy(alignments, algo, sizeof alignments);
  if (!aligned(a_data, alignments[0]) || !aligned(b_data, alignments[1]) || !aligned(d_data, alignments[2]))
    fail("an operand that is less aligned than was said when the algorithm was chosen");
  if (c_data != d_data) fail("c and d differ, which is not used here");
  const auto scale = attribute<int32_t>(desc, CUBLASLT_MATMUL_DESC_SCALE_TYPE);
  if (epilogue != CUBLASLT_EPILOGUE_DEFAULT && epilogue != CUBLASLT_EPILOGUE_BIAS && epilogue != CUBLASLT_EPILOGUE_BGRADB)
    fail("an epilogue that is not used here");
  auto* const vector = epilogue == CUBLASLT_EPILOGUE_DEFAULT ? nullptr : attribute<void*>(desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER);
  const bool f64 = scale == CUDA_R_64F;
  const auto number = [&](const void* p) {
    return f64 ? *static_cast<const double*>(p) : static_cast<double>(*static_cast<const float*>(p));
  };
  const Call call{.a = Matrix(a),
                  .b = Matrix(b),
                  .d = Matrix(d),
                  .op_a = static_cast<cublasOperation_t>(attribute<int32_t>(desc, CUBLASLT_MATMUL_DESC_TRANSA)),
                  .op_b = static_cast<cublasOperation_t>(attribute<int32_t>(desc, CUBLASLT_MATMUL_DESC_TRANSB)),
                  .f64 = f64,
                  .a_data = a_data,
                  .b_data = b_data,
                  .bias = epilogue == CUBLASLT_EPILOGUE_BIAS ? vector : nullptr,
                  .d_data = d_data,
                  .column_sums = epilogue == CUBLASLT_EPILOGUE_BGRADB ? vector : nullptr,
                  .alpha = number(alpha),
                  .beta = number(beta)};
  if (vector != nullptr && (!aligned(vector, 16) || !aligned(vector, alignments[3])))
    fail("a bias that does not lie at a multiple of 16 bytes, or is less aligned than when the algorithm was chosen");
  if (f64 && vector != nullptr) fail("an epilogue in f64");
  const uint64_t rows = call.op_a == CUBLAS_OP_N ? call.a.rows : call.a.columns,
                 depth = call.op_a == CUBLAS_OP_N ? call.a.columns : call.a.rows;
  const uint64_t columns = call.op_b == CUBLAS_OP_N ? call.b.columns : call.b.rows,
                 other = call.op_b == CUBLAS_OP_N ? call.b.rows : call.b.columns;
  if (rows != call.d.rows || columns != call.d.columns || depth != other) return CUBLAS_STATUS_INVALID_VALUE;
  enqueue(stream, [call] { call.run(); });
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
