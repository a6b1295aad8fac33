// Layer normalisation, dropout, and both around a residual connection. One block a row; a row is read again instead of being kept.
// Bytes: forward 3 passes over the row of reads and 1 of writes (2 of them from cache), backward x and dy twice (once from cache) and 1 of
// writes, and before that the column sums' reads, dy twice and x once; dropout reads a row, or two, and writes one. FLOPs: about 8 an
// element forward, 14 backward and 5 for the column sums, and 10 of Philox where something is dropped.
#include "core/checks.h"
#include "core/cuda/cuda_backend.h"
#include "core/cuda/device/columns.h"
#include "core/cuda/device/random.h"
#include "core/cuda/device/reduce.h"
#include "core/cuda/device/rows.h"
#include "core/cuda/device/texts.h"

namespace lodestone {

namespace {

using namespace cuda;

constexpr int block_threads = 128;

/// y = xhat gamma + beta with xhat = (x - mean) rstd, rstd = 1 / sqrt(variance + eps), variance over H without correction.
template <int N, class T>
__global__ void __launch_bounds__(block_threads) norm_forward(const T* x, const wide_t<T>* gamma, const wide_t<T>* beta, wide_t<T> eps,
                                                              int64_t width, T* y, wide_t<T>* mean, wide_t<T>* rstd) {
  using W = wide_t<T>;
  __shared__ W parts[warp_size];
  const int64_t s = blockIdx.x;
  const T* const row = x + s * width;
  W sum = 0, squares = 0;
  each<N>(width, [&](int64_t h) {
    const Several<T, N> v = load<N>(row + h);
    for (int k = 0; k < N; ++k) sum += to_wide(v.at[k]);
  });
  const W m = reduce_block(sum, Add{}, W{0}, parts) / static_cast<W>(width);
  each<N>(width, [&](int64_t h) {
    const Several<T, N> v = load<N>(row + h);
    for (int k = 0; k < N; ++k) squares += (to_wide(v.at[k]) - m) * (to_wide(v.at[k]) - m);
  });
  const W r = W{1} / sqrt(reduce_block(squares, Add{}, W{0}, parts) / static_cast<W>(width) + eps);
  each<N>(width, [&](int64_t h) {
    const Several<T, N> v = load<N>(row + h);
    const Several<W, N> g = load<N>(gamma + h), b = load<N>(beta + h);
    Several<T, N> out{};
    for (int k = 0; k < N; ++k) out.at[k] = from_wide<T>((to_wide(v.at[k]) - m) * r * g.at[k] + b.at[k]);
    store<N>(y + s * width + h, out);
  });
  if (threadIdx.x != 0) return;
  mean[s] = m;
  rstd[s] = r;
}

/// With u = dy gamma:  dx = rstd (u - mean(u) - xhat mean(u xhat)). dx may be dy: each thread writes what it alone reads.
template <int N, class T>
__global__ void __launch_bounds__(block_threads)
    norm_backward(const T* dy, const T* x, const wide_t<T>* gamma, const wide_t<T>* mean, const wide_t<T>* rstd, int64_t width, T* dx) {
  using W = wide_t<T>;
  __shared__ W parts[warp_size];
  const int64_t s = blockIdx.x, begin = s * width;
  const W m = mean[s], r = rstd[s];
  W sum = 0, along = 0;
  each<N>(width, [&](int64_t h) {
    const Several<T, N> d = load<N>(dy + begin + h), v = load<N>(x + begin + h);
    const Several<W, N> g = load<N>(gamma + h);
    for (int k = 0; k < N; ++k) {
      const W u = to_wide(d.at[k]) * g.at[k];
      sum += u;
      along += u * (to_wide(v.at[k]) - m) * r;
    }
  });
  const W mean_u = reduce_block(sum, Add{}, W{0}, parts) / static_cast<W>(width);
  const W mean_ux = reduce_block(along, Add{}, W{0}, parts) / static_cast<W>(width);
  each<N>(width, [&](int64_t h) {
    const Several<T, N> d = load<N>(dy + begin + h), v = load<N>(x + begin + h);
    const Several<W, N> g = load<N>(gamma + h);
    Several<T, N> out{};
    for (int k = 0; k < N; ++k) out.at[k] = from_wide<T>(r * (to_wide(d.at[k]) * g.at[k] - mean_u - (to_wide(v.at[k]) - m) * r * mean_ux));
    store<N>(dx + begin + h, out);
  });
}

/// d_gamma's summands, of an element of dy and its x; d_beta's are dy.
template <class W>
struct GammaTerm {
  const W *mean, *rstd;
  __device__ W operator()(int64_t i, W dy, W x) const { return dy * (x - mean[i]) * rstd[i]; }
};

/// y = dropout(x), and + residual where there is one. One block a token.
template <int N, class T>
__global__ void __launch_bounds__(block_threads)
    drop(TextsView texts, DropoutMask mask, const T* x, const T* residual, int64_t width, T* y) {
  using W = wide_t<T>;
  const int64_t s = blockIdx.x, begin = s * width;
  const uint64_t key = mask.threshold == 0 ? 0 : texts.key(s);
  const auto place = static_cast<uint32_t>(texts.place[s]);
  each<N>(width, [&](int64_t h) {
    const Several<T, N> v = load<N>(x + begin + h), r = residual != nullptr ? load<N>(residual + begin + h) : Several<T, N>{};
    Several<T, N> out{};
    for (int k = 0; k < N; ++k) {
      const W kept = to_wide(v.at[k]) * mask.factor<W>(key, place, static_cast<uint32_t>(h + k));
      out.at[k] = from_wide<T>(residual != nullptr ? kept + to_wide(r.at[k]) : kept);
    }
    store<N>(y + begin + h, out);
  });
}

template <class T>
void enqueue_drop(cudaStream_t stream, const DeviceTexts& texts, const Dropout& dropout, ConstTensor x, ConstTensor residual, Tensor y) {
  const int64_t width = x.dim(1);
  for_row_width<T>(width, aligned_16(x, residual, y), [&](auto n) {
    launch(drop<decltype(n)::value, T>, x.dim(0), block_threads, 0, stream, TextsView(texts), DropoutMask(dropout.key, dropout.p),
           elements<T>(x), residual.empty() ? nullptr : elements<T>(residual), width, elements<T>(y));
  });
}

}  // namespace

void CudaBackend::layer_norm_forward(ConstTensor x, ConstTensor gamma, ConstTensor beta, double eps, Tensor y, Tensor mean, Tensor rstd) {
  checks::layer_norm_forward(x, gamma, beta, y, mean, rstd);
  const int64_t width = x.dim(1);
  for_compute("layer_norm_forward", x.dtype(), [&]<class T>(T) {
    using W = wide_t<T>;
    for_row_width<T>(width, aligned_16(x, gamma, beta, y), [&](auto n) {
      launch(norm_forward<decltype(n)::value, T>, x.dim(0), block_threads, 0, enqueue("layer_norm_forward", x), elements<T>(x),
             elements<W>(gamma), elements<W>(beta), static_cast<W>(eps), width, elements<T>(y), elements<W>(mean), elements<W>(rstd));
    });
  });
}

void CudaBackend::layer_norm_backward(ConstTensor dy, ConstTensor x, ConstTensor gamma, ConstTensor mean, ConstTensor rstd, Tensor dx,
                                      Tensor d_gamma, Tensor d_beta) {
  checks::layer_norm_backward(dy, x, gamma, mean, rstd, dx, d_gamma, d_beta);
  const int64_t rows = x.dim(0), width = x.dim(1);
  const cudaStream_t stream = enqueue("layer_norm_backward", dy);
  for_compute("layer_norm_backward", x.dtype(), [&]<class T>(T) {
    using W = wide_t<T>;
    // The sums first: dx may be dy.
    auto* const part = reinterpret_cast<W*>(scratch(static_cast<size_t>(tiles_of(rows) * width) * sizeof(W)));
    const GammaTerm<W> to_gamma{elements<W>(mean), elements<W>(rstd)};
    add_columns(stream, rows, width, to_gamma, part, elements<W>(d_gamma), elements<T>(dy), elements<T>(x));
    add_columns(stream, rows, width, Unchanged{}, part, elements<W>(d_beta), elements<T>(dy));
    for_row_width<T>(width, aligned_16(dy, x, gamma, dx), [&](auto n) {
      launch(norm_backward<decltype(n)::value, T>, rows, block_threads, 0, stream, elements<T>(dy), elements<T>(x), elements<W>(gamma),
             elements<W>(mean), elements<W>(rstd), width, elements<T>(dx));
    });
  });
}

void CudaBackend::dropout(const DeviceTexts& texts, ConstTensor x, Dropout dropout, Tensor y) {
  checks::token_rows("dropout", "x", texts, x);
  checks::same("dropout", "y", x, y);
  checks::dropout("dropout", texts, dropout);
  for_compute("dropout", x.dtype(), [&]<class T>(T) { enqueue_drop<T>(enqueue("dropout", x), texts, dropout, x, {}, y); });
}

void CudaBackend::residual_layer_norm_forward(const DeviceTexts& texts, ConstTensor residual, ConstTensor branch, Dropout dropout,
                                              ConstTensor gamma, ConstTensor beta, double eps, Tensor sum, Tensor y, Tensor mean,
                                              Tensor rstd) {
  checks::same("residual_layer_norm_forward", "residual", branch, residual);
  checks::same("residual_layer_norm_forward", "sum", branch, sum);
  checks::token_rows("residual_layer_norm_forward", "branch", texts, branch);
  checks::dropout("residual_layer_norm_forward", texts, dropout);
  for_compute("residual_layer_norm_forward", branch.dtype(), [&]<class T>(T) {
    enqueue_drop<T>(enqueue("residual_layer_norm_forward", residual), texts, dropout, branch, residual, sum);
  });
  layer_norm_forward(sum, gamma, beta, eps, y, mean, rstd);
}

void CudaBackend::residual_layer_norm_backward(const DeviceTexts& texts, ConstTensor dy, ConstTensor sum, Dropout dropout,
                                               ConstTensor gamma, ConstTensor mean, ConstTensor rstd, Tensor d_residual, Tensor d_branch,
                                               Tensor d_gamma, Tensor d_beta) {
  layer_norm_backward(dy, sum, gamma, mean, rstd, d_residual, d_gamma, d_beta);
  this->dropout(texts, d_residual, dropout, d_branch);
}

}  // namespace lodestone
