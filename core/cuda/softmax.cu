// Row statistics of matrices of scores and logits: log sum exp, softmax, cross-entropy tile after tile. One block a row. Bytes: the matrix
// twice (log sum exp, cross-entropy forward) or read and written once (softmax, cross-entropy backward); FLOPs: an exponential an element.
#include "core/checks.h"
#include "core/cuda/cuda_backend.h"
#include "core/cuda/device/reduce.h"
#include "core/cuda/device/values.h"

namespace lodestone {

namespace {

using namespace cuda;

constexpr int block_threads = 256;

/// lse[i] = log sum_j exp(scale x[i,j]); -infinity where no column has a finite score.
template <class T>
__global__ void __launch_bounds__(block_threads) log_sum_exp(const T* x, int64_t columns, T scale, T* lse) {
  __shared__ T parts[warp_size];
  const T* const row = x + blockIdx.x * columns;
  const T nothing = -static_cast<T>(INFINITY);
  T top = nothing, sum = 0;
  for (int64_t j = threadIdx.x; j < columns; j += blockDim.x) top = scale * row[j] > top ? scale * row[j] : top;
  top = reduce_block(top, Max{}, nothing, parts);
  for (int64_t j = threadIdx.x; j < columns && !isinf(top); j += blockDim.x) sum += exp(scale * row[j] - top);
  sum = reduce_block(sum, Add{}, T{0}, parts);
  if (threadIdx.x == 0) lse[blockIdx.x] = isinf(top) ? top : top + log(sum);
}

template <class T>
__global__ void __launch_bounds__(block_threads) softmax(T* x, int64_t columns, T scale, const T* lse, T weight) {
  T* const row = x + blockIdx.x * columns;
  const T sum = lse[blockIdx.x];
  for (int64_t j = threadIdx.x; j < columns; j += blockDim.x) row[j] = weight * exp(scale * row[j] - sum);
}

template <class T>
__global__ void __launch_bounds__(block_threads)
    entropy_forward(const T* logits, int64_t columns, const int32_t* labels, int64_t first, T* lse, T* target) {
  __shared__ T parts[warp_size];
  const int64_t i = blockIdx.x;
  const T* const row = logits + i * columns;
  const T nothing = -static_cast<T>(INFINITY), before = first == 0 ? nothing : lse[i];
  T top = nothing, sum = 0;
  for (int64_t j = threadIdx.x; j < columns; j += blockDim.x) top = row[j] > top ? row[j] : top;
  top = reduce_block(top, Max{}, nothing, parts);
  top = before > top ? before : top;
  for (int64_t j = threadIdx.x; j < columns; j += blockDim.x) sum += exp(row[j] - top);
  sum = reduce_block(sum, Add{}, T{0}, parts);
  if (threadIdx.x != 0) return;
  lse[i] = top + log(exp(before - top) + sum);
  const int64_t j = labels[i] - first;
  if (j >= 0 && j < columns) target[i] = row[j];
}

/// d may be the logits themselves: each thread writes what it alone reads.
template <class T, class D>
__global__ void __launch_bounds__(block_threads)
    entropy_backward(const T* logits, int64_t columns, const int32_t* labels, int64_t first, const T* lse, T weight, D* d) {
  const int64_t i = blockIdx.x;
  for (int64_t j = threadIdx.x; j < columns; j += blockDim.x)
    d[i * columns + j] = from_wide<D>(weight * (exp(logits[i * columns + j] - lse[i]) - (labels[i] == first + j ? T{1} : T{0})));
}

}  // namespace

void CudaBackend::log_sum_exp_rows(ConstTensor x, double scale, Tensor lse) {
  checks::row_statistic("log_sum_exp_rows", x, lse);
  for_wide("log_sum_exp_rows", x.dtype(), [&]<class T>(T) {
    launch(log_sum_exp<T>, x.dim(0), block_threads, 0, enqueue("log_sum_exp_rows", x), elements<T>(x), x.dim(1), static_cast<T>(scale),
           elements<T>(lse));
  });
}

void CudaBackend::softmax_rows(Tensor x, double scale, ConstTensor lse, double weight) {
  checks::row_statistic("softmax_rows", x, lse);
  for_wide("softmax_rows", x.dtype(), [&]<class T>(T) {
    launch(softmax<T>, x.dim(0), block_threads, 0, enqueue("softmax_rows", x), elements<T>(x), x.dim(1), static_cast<T>(scale),
           elements<T>(lse), static_cast<T>(weight));
  });
}

void CudaBackend::cross_entropy_forward(ConstTensor logits, ConstTensor labels, int64_t first, Tensor lse, Tensor target) {
  checks::cross_entropy("cross_entropy_forward", logits, labels, lse);
  checks::row_statistic("cross_entropy_forward", logits, target);
  for_wide("cross_entropy_forward", logits.dtype(), [&]<class T>(T) {
    launch(entropy_forward<T>, logits.dim(0), block_threads, 0, enqueue("cross_entropy_forward", logits), elements<T>(logits),
           logits.dim(1), elements<int32_t>(labels), first, elements<T>(lse), elements<T>(target));
  });
}

void CudaBackend::cross_entropy_backward(Tensor logits, ConstTensor labels, int64_t first, ConstTensor lse, double weight,
                                         Tensor d_logits) {
  const char* const op = "cross_entropy_backward";
  checks::cross_entropy(op, logits, labels, lse);
  checks::shape(op, "d_logits", d_logits, logits.shape());
  if (d_logits.dtype() != DType::bf16) checks::dtype(op, "d_logits", d_logits, logits.dtype());
  for_wide(op, logits.dtype(), [&]<class T>(T) {
    for_compute(op, d_logits.dtype(), [&]<class D>(D) {
      launch(entropy_backward<T, D>, logits.dim(0), block_threads, 0, enqueue(op, logits), elements<T>(ConstTensor(logits)), logits.dim(1),
             elements<int32_t>(labels), first, elements<T>(lse), static_cast<T>(weight), elements<D>(d_logits));
    });
  });
}

}  // namespace lodestone
