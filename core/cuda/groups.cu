// Products of each query with its own group of passages, forward and backward. One warp a pair, or one block a row. Bytes: both rows once,
// and once more where a gradient is added; FLOPs: 2 E a pair forward, 4 E backward.
#include "core/checks.h"
#include "core/cuda/cuda_backend.h"
#include "core/cuda/device/reduce.h"
#include "core/cuda/device/values.h"

namespace lodestone {

namespace {

using namespace cuda;

constexpr int block_threads = 128;
constexpr int pairs_of_a_block = block_threads / warp_size;

/// scores[pair] = <rows[pair / G], columns[pair]>, in S. A warp has one pair.
template <class T, class S>
__global__ void __launch_bounds__(block_threads)
    products(int64_t pairs, int64_t group, int64_t width, const T* rows, const T* columns, S* scores) {
  const int64_t pair = static_cast<int64_t>(blockIdx.x) * pairs_of_a_block + threadIdx.x / warp_size;
  S dot = 0;
  for (int64_t e = threadIdx.x % warp_size; e < width && pair < pairs; e += warp_size)
    dot += static_cast<S>(rows[pair / group * width + e]) * static_cast<S>(columns[pair * width + e]);
  dot = reduce_warp(dot, Add{});
  if (threadIdx.x % warp_size == 0 && pair < pairs) scores[pair] = dot;
}

/// d_rows[i] = (Added ? d_rows[i] : 0) + sum_g d[i,g] columns[i G + g], d_columns likewise. A block has one row.
template <class T, class D, bool Added>
__global__ void __launch_bounds__(block_threads)
    products_backward(const D* d, int64_t group, int64_t width, const T* rows, const T* columns, T* d_rows, T* d_columns) {
  const int64_t i = blockIdx.x;
  for (int64_t e = threadIdx.x; e < width; e += blockDim.x) {
    const T row = rows[i * width + e];
    T sum = Added ? d_rows[i * width + e] : T{0};
    for (int64_t pair = i * group; pair < (i + 1) * group; ++pair) {
      const T ds = static_cast<T>(d[pair]);
      sum += ds * columns[pair * width + e];
      T& to = d_columns[pair * width + e];
      to = (Added ? to : T{0}) + ds * row;
    }
    d_rows[i * width + e] = sum;
  }
}

}  // namespace

void CudaBackend::group_products(ConstTensor rows, ConstTensor columns, Tensor scores) {
  checks::groups("group_products", rows, columns, scores, rows.dtype());
  for_wide("group_products", rows.dtype(), [&]<class T>(T) {
    launch(products<T, T>, blocks_of(scores.count(), pairs_of_a_block), block_threads, 0, enqueue("group_products", rows), scores.count(),
           scores.dim(1), rows.dim(1), elements<T>(rows), elements<T>(columns), elements<T>(scores));
  });
}

void CudaBackend::group_products_backward(ConstTensor d_scores, ConstTensor rows, ConstTensor columns, Tensor d_rows, Tensor d_columns) {
  const char* const op = "group_products_backward";
  checks::groups(op, rows, columns, d_scores, rows.dtype());
  checks::groups(op, d_rows, d_columns, d_scores, rows.dtype());
  for_wide(op, rows.dtype(), [&]<class T>(T) {
    launch(products_backward<T, T, true>, rows.dim(0), block_threads, 0, enqueue(op, d_scores), elements<T>(d_scores), d_scores.dim(1),
           rows.dim(1), elements<T>(rows), elements<T>(columns), elements<T>(d_rows), elements<T>(d_columns));
  });
}

void CudaBackend::group_dots(ConstTensor rows, ConstTensor columns, Tensor dots) {
  checks::groups("group_dots", rows, columns, dots, DType::f64);
  for_wide("group_dots", rows.dtype(), [&]<class T>(T) {
    launch(products<T, double>, blocks_of(dots.count(), pairs_of_a_block), block_threads, 0, enqueue("group_dots", rows), dots.count(),
           dots.dim(1), rows.dim(1), elements<T>(rows), elements<T>(columns), elements<double>(dots));
  });
}

void CudaBackend::group_dots_backward(ConstTensor d_dots, ConstTensor rows, ConstTensor columns, Tensor d_rows, Tensor d_columns) {
  const char* const op = "group_dots_backward";
  checks::groups(op, rows, columns, d_dots, DType::f64);
  checks::groups(op, d_rows, d_columns, d_dots, DType::f64);
  for_wide(op, rows.dtype(), [&]<class T>(T) {
    launch(products_backward<T, double, false>, rows.dim(0), block_threads, 0, enqueue(op, d_dots), elements<double>(d_dots), d_dots.dim(1),
           rows.dim(1), elements<T>(rows), elements<T>(columns), elements<T>(d_rows), elements<T>(d_columns));
  });
}

}  // namespace lodestone
