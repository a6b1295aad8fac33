// Products of each query with its own group of passages, forward and backward. One warp a pair, or one block a row. Bytes: forward both
// matrices once (a query's row once more from cache for each of its passages); backward both read and both gradients written, and these
// read too where they are added to. FLOPs: 2 E a pair forward, 4 E backward.
#include "core/checks.h"
#include "core/cuda/cuda_backend.h"
#include "core/cuda/device/reduce.h"
#include "core/cuda/device/rows.h"

namespace lodestone {

namespace {

using namespace cuda;

constexpr int block_threads = 128;
constexpr int pairs_of_a_block = block_threads / warp_size;

/// scores[pair] = <rows[pair / G], columns[pair]>, in S. A warp has one pair.
template <int N, class T, class S>
__global__ void __launch_bounds__(block_threads)
    products(int64_t pairs, int64_t group, int64_t width, const T* rows, const T* columns, S* scores) {
  const int64_t pair = static_cast<int64_t>(blockIdx.x) * pairs_of_a_block + threadIdx.x / warp_size;
  S dot = 0;
  for (int64_t e = threadIdx.x % warp_size * N; e < width && pair < pairs; e += warp_size * N) {
    const Several<T, N> a = load<N>(rows + pair / group * width + e), b = load<N>(columns + pair * width + e);
    for (int k = 0; k < N; ++k) dot += static_cast<S>(a.at[k]) * static_cast<S>(b.at[k]);
  }
  dot = reduce_warp(dot, Add{});
  if (threadIdx.x % warp_size == 0 && pair < pairs) scores[pair] = dot;
}

/// d_rows[i] = (Added ? d_rows[i] : 0) + sum_g d[i,g] columns[i G + g], d_columns likewise. A block has one row.
template <int N, class T, class D, bool Added>
__global__ void __launch_bounds__(block_threads)
    products_backward(const D* d, int64_t group, int64_t width, const T* rows, const T* columns, T* d_rows, T* d_columns) {
  const int64_t i = blockIdx.x;
  each<N>(width, [&](int64_t e) {
    const Several<T, N> row = load<N>(rows + i * width + e);
    Several<T, N> sum = Added ? load<N>(d_rows + i * width + e) : Several<T, N>{};
    for (int64_t pair = i * group; pair < (i + 1) * group; ++pair) {
      const T ds = static_cast<T>(d[pair]);
      const Several<T, N> column = load<N>(columns + pair * width + e);
      Several<T, N> to = Added ? load<N>(d_columns + pair * width + e) : Several<T, N>{};
      for (int k = 0; k < N; ++k) {
        sum.at[k] += ds * column.at[k];
        to.at[k] += ds * row.at[k];
      }
      store<N>(d_columns + pair * width + e, to);
    }
    store<N>(d_rows + i * width + e, sum);
  });
}

template <class T, class S>
void enqueue_products(cudaStream_t stream, ConstTensor rows, ConstTensor columns, Tensor scores) {
  for_row_width<T>(rows.dim(1), aligned_16(rows, columns), [&](auto n) {
    launch(products<decltype(n)::value, T, S>, blocks_of(scores.count(), pairs_of_a_block), block_threads, 0, stream, scores.count(),
           scores.dim(1), rows.dim(1), elements<T>(rows), elements<T>(columns), elements<S>(scores));
  });
}

template <class T, class D, bool Added>
void enqueue_backward(cudaStream_t stream, ConstTensor d, ConstTensor rows, ConstTensor columns, Tensor d_rows, Tensor d_columns) {
  for_row_width<T>(rows.dim(1), aligned_16(rows, columns, d_rows, d_columns), [&](auto n) {
    launch(products_backward<decltype(n)::value, T, D, Added>, rows.dim(0), block_threads, 0, stream, elements<D>(d), d.dim(1), rows.dim(1),
           elements<T>(rows), elements<T>(columns), elements<T>(d_rows), elements<T>(d_columns));
  });
}

}  // namespace

void CudaBackend::group_products(ConstTensor rows, ConstTensor columns, Tensor scores) {
  checks::groups("group_products", rows, columns, scores, rows.dtype());
  for_wide("group_products", rows.dtype(),
           [&]<class T>(T) { enqueue_products<T, T>(enqueue("group_products", rows), rows, columns, scores); });
}

void CudaBackend::group_products_backward(ConstTensor d_scores, ConstTensor rows, ConstTensor columns, Tensor d_rows, Tensor d_columns) {
  const char* const op = "group_products_backward";
  checks::groups(op, rows, columns, d_scores, rows.dtype());
  checks::groups(op, d_rows, d_columns, d_scores, rows.dtype());
  for_wide(op, rows.dtype(),
           [&]<class T>(T) { enqueue_backward<T, T, true>(enqueue(op, d_scores), d_scores, rows, columns, d_rows, d_columns); });
}

void CudaBackend::group_dots(ConstTensor rows, ConstTensor columns, Tensor dots) {
  checks::groups("group_dots", rows, columns, dots, DType::f64);
  for_wide("group_dots", rows.dtype(), [&]<class T>(T) { enqueue_products<T, double>(enqueue("group_dots", rows), rows, columns, dots); });
}

void CudaBackend::group_dots_backward(ConstTensor d_dots, ConstTensor rows, ConstTensor columns, Tensor d_rows, Tensor d_columns) {
  const char* const op = "group_dots_backward";
  checks::groups(op, rows, columns, d_dots, DType::f64);
  checks::groups(op, d_rows, d_columns, d_dots, DType::f64);
  for_wide(op, rows.dtype(),
           [&]<class T>(T) { enqueue_backward<T, double, false>(enqueue(op, d_dots), d_dots, rows, columns, d_rows, d_columns); });
}

}  // namespace lodestone
