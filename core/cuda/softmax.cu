// Row statistics of matrices of scores and logits: log sum exp, softmax, cross-entropy tile after tile. One block a row. Bytes: the matrix
// twice (log sum exp, cross-entropy forward) or read and written once (softmax, cross-entropy backward); FLOPs: an exponential an element.
#include "core/checks.h"
#include "core/cuda/cuda_backend.h"
#include "core/cuda/device/reduce.h"
#include "core/cuda/device/rows.h"

namespace lodestone {

namespace {

using namespace cuda;

constexpr int block_threads = 256;

/// lse[i] = log sum_j exp(scale x[i,j]); -infinity where no column has a finite score.
template <int N, class T>
__global__ void __launch_bounds__(block_threads) log_sum_exp(const T* x, int64_t columns, T scale, T* lse) {
  __shared__ T parts[warp_size];
  const T* const row = x + blockIdx.x * columns;
  const T nothing = -static_cast<T>(INFINITY);
  T top = nothing, sum = 0;
  each<N>(columns, [&](int64_t j) {
    const Several<T, N> v = load<N>(row + j);
    for (int k = 0; k < N; ++k) top = scale * v.at[k] > top ? scale * v.at[k] : top;
  });
  top = reduce_block(top, Max{}, nothing, parts);
  each<N>(isinf(top) ? 0 : columns, [&](int64_t j) {
    const Several<T, N> v = load<N>(row + j);
    for (int k = 0; k < N; ++k) sum += exp(scale * v.at[k] - top);
  });
  sum = reduce_block(sum, Add{}, T{0}, parts);
  if (threadIdx.x == 0) lse[blockIdx.x] = isinf(top) ? top : top + log(sum);
}

template <int N, class T>
__global__ void __launch_bounds__(block_threads) softmax(T* x, int64_t columns, T scale, const T* lse, T weight) {
  T* const row = x + blockIdx.x * columns;
  const T sum = lse[blockIdx.x];
  each<N>(columns, [&](int64_t j) {
    Several<T, N> v = load<N>(row + j);
    for (int k = 0; k < N; ++k) v.at[k] = weight * exp(scale * v.at[k] - sum);
    store<N>(row + j, v);
  });
}

template <int N, class T>
__global__ void __launch_bounds__(block_threads)
    entropy_forward(const T* logits, int64_t columns, const int32_t* labels, int64_t first, T* lse, T* target) {
  __shared__ T parts[warp_size];
  const int64_t i = blockIdx.x;
  const T* const row = logits + i * columns;
  const T nothing = -static_cast<T>(INFINITY), before = first == 0 ? nothing : lse[i];
  T top = nothing, sum = 0;
  each<N>(columns, [&](int64_t j) {
    const Several<T, N> v = load<N>(row + j);
    for (int k = 0; k < N; ++k) top = v.at[k] > top ? v.at[k] : top;
  });
  top = reduce_block(top, Max{}, nothing, parts);
  top = before > top ? before : top;
  each<N>(columns, [&](int64_t j) {
    const Several<T, N> v = load<N>(row + j);
    for (int k = 0; k < N; ++k) sum += exp(v.at[k] - top);
  });
  sum = reduce_block(sum, Add{}, T{0}, parts);
  if (threadIdx.x != 0) return;
  lse[i] = top + log(exp(before - top) + sum);
  const int64_t j = labels[i] - first;
  if (j >= 0 && j < columns) target[i] = row[j];
}

/// d may be the logits themselves: each thread writes what it alone reads.
template <int N, class T, class D>
__global__ void __launch_bounds__(block_threads)
    entropy_backward(const T* logits, int64_t columns, const int32_t* labels, int64_t first, const T* lse, T weight, D* d) {
  const int64_t i = blockIdx.x, label = labels[i] - first;
  const T sum = lse[i];
  each<N>(columns, [&](int64_t j) {
    const Several<T, N> v = load<N>(logits + i * columns + j);
    Several<D, N> out{};
    for (int k = 0; k < N; ++k) out.at[k] = from_wide<D>(weight * (exp(v.at[k] - sum) - (label == j + k ? T{1} : T{0})));
    store<N>(d + i * columns + j, out);
  });
}

}  // namespace

void CudaBackend::log_sum_exp_rows(ConstTensor x, double scale, Tensor lse) {
  checks::row_statistic("log_sum_exp_rows", x, lse);
  for_wide("log_sum_exp_rows", x.dtype(), [&]<class T>(T) {
    for_row_width<T>(x.dim(1), aligned_16(x), [&](auto n) {
      launch(log_sum_exp<decltype(n)::value, T>, x.dim(0), block_threads, 0, enqueue("log_sum_exp_rows", x), elements<T>(x), x.dim(1),
             static_cast<T>(scale), elements<T>(lse));
    });
  });
}

void CudaBackend::softmax_rows(Tensor x, double scale, ConstTensor lse, double weight) {
  checks::row_statistic("softmax_rows", x, lse);
  for_wide("softmax_rows", x.dtype(), [&]<class T>(T) {
    for_row_width<T>(x.dim(1), aligned_16(x), [&](auto n) {
      launch(softmax<decltype(n)::value, T>, x.dim(0), block_threads, 0, enqueue("softmax_rows", x), elements<T>(x), x.dim(1),
             static_cast<T>(scale), elements<T>(lse), static_cast<T>(weight));
    });
  });
}

void CudaBackend::cross_entropy_forward(ConstTensor logits, ConstTensor labels, int64_t first, Tensor lse, Tensor target) {
  checks::cross_entropy("cross_entropy_forward", logits, labels, lse);
  checks::row_statistic("cross_entropy_forward", logits, target);
  for_wide("cross_entropy_forward", logits.dtype(), [&]<class T>(T) {
    for_row_width<T>(logits.dim(1), aligned_16(logits), [&](auto n) {
      launch(entropy_forward<decltype(n)::value, T>, logits.dim(0), block_threads, 0, enqueue("cross_entropy_forward", logits),
             elements<T>(logits), logits.dim(1), elements<int32_t>(labels), first, elements<T>(lse), elements<T>(target));
    });
  });
}

void CudaBackend::cross_entropy_backward(Tensor logits, ConstTensor labels, int64_t first, ConstTensor lse, double weight,
                                         Tensor d_logits) {
  const char* const op = "cross_entropy_backward";
  checks::cross_entropy(op, logits, labels, lse);
  checks::shape(op, "d_logits", d_logits, logits.shape());
  if (d_logits.dtype() != DType::bf16) checks::dtype(op, "d_logits", d_logits, logits.dtype());
  for_wide(op, logits.dtype(), [&]<class T>(T) {
    const auto start = [&]<class D>(D) {
      for_row_width<T, D>(logits.dim(1), aligned_16(logits, d_logits), [&](auto n) {
        launch(entropy_backward<decltype(n)::value, T, D>, logits.dim(0), block_threads, 0, enqueue(op, logits),
               elements<T>(ConstTensor(logits)), logits.dim(1), elements<int32_t>(labels), first, elements<T>(lse), static_cast<T>(weight),
               elements<D>(d_logits));
      });
    };
    if (d_logits.dtype() == DType::bf16)
      start(bf16{});
    else
      start(T{});
  });
}

}  // namespace lodestone
