// Layer normalisation, dropout, and both around a residual connection in one pass. One block a row; a row is read again, from cache,
// instead of being kept. Bytes: normalisation reads a row and writes one; around a residual connection it reads two and writes two.
// Backward reads dy and x twice, for the sums of columns and for the row itself, and writes a row, or two. FLOPs: about 8 an element
// forward, 14 backward and 5 for the column sums, and 10 of Philox where something is dropped.
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

/// y = xhat gamma + beta with xhat = (x - mean) rstd, rstd = 1 / sqrt(variance + eps), variance over H without correction, of one row,
/// whose elements a thread reads as each<N>() gives them. sum: of the elements that were this thread's.
template <int N, class T>
__device__ __forceinline__ void normalize_row(const T* row, wide_t<T> sum, const wide_t<T>* gamma, const wide_t<T>* beta, wide_t<T> eps,
                                              int64_t width, T* y, wide_t<T>* mean, wide_t<T>* rstd) {
  using W = wide_t<T>;
  __shared__ W parts[warp_size];
  W squares = 0;
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
    store<N>(y + h, out);
  });
  if (threadIdx.x != 0) return;
  *mean = m;
  *rstd = r;
}

template <int N, class T>
__global__ void __launch_bounds__(block_threads) norm_forward(const T* x, const wide_t<T>* gamma, const wide_t<T>* beta, wide_t<T> eps,
                                                              int64_t width, T* y, wide_t<T>* mean, wide_t<T>* rstd) {
  const int64_t s = blockIdx.x, begin = s * width;
  wide_t<T> sum = 0;
  each<N>(width, [&](int64_t h) {
    const Several<T, N> v = load<N>(x + begin + h);
    for (int k = 0; k < N; ++k) sum += to_wide(v.at[k]);
  });
  normalize_row<N>(x + begin, sum, gamma, beta, eps, width, y + begin, mean + s, rstd + s);
}

/// Dropout of a row's elements.
struct RowDropout {
  DropoutMask mask;
  uint64_t key;
  uint32_t place;

  __device__ RowDropout(const TextsView& texts, const DropoutMask& of, int64_t s)
      : mask(of), key(of.threshold == 0 ? 0 : texts.key(s)), place(static_cast<uint32_t>(texts.place[s])) {}
  template <class W>
  __device__ W operator()(W x, int64_t h) const {
    return x * mask.factor<W>(key, place, static_cast<uint32_t>(h));
  }
};

/// total = residual + dropout(branch), normalised to y. total may be branch: a thread reads what it alone has written.
template <int N, class T>
__global__ void __launch_bounds__(block_threads)
    residual_norm_forward(TextsView texts, DropoutMask mask, const T* residual, const T* branch, const wide_t<T>* gamma,
                          const wide_t<T>* beta, wide_t<T> eps, int64_t width, T* total, T* y, wide_t<T>* mean, wide_t<T>* rstd) {
  const int64_t s = blockIdx.x, begin = s * width;
  const RowDropout dropout(texts, mask, s);
  wide_t<T> sum = 0;
  each<N>(width, [&](int64_t h) {
    const Several<T, N> b = load<N>(branch + begin + h), r = load<N>(residual + begin + h);
    Several<T, N> out{};
    for (int k = 0; k < N; ++k) {
      out.at[k] = from_wide<T>(dropout(to_wide(b.at[k]), h + k) + to_wide(r.at[k]));
      sum += to_wide(out.at[k]);
    }
    store<N>(total + begin + h, out);
  });
  normalize_row<N>(total + begin, sum, gamma, beta, eps, width, y + begin, mean + s, rstd + s);
}

/// With u = dy gamma:  dx = rstd (u - mean(u) - xhat mean(u xhat)), and d_branch = dropout(dx), where that is not null. dx may be dy: each
/// thread writes what it alone reads.
template <int N, class T>
__global__ void __launch_bounds__(block_threads)
    norm_backward(TextsView texts, DropoutMask mask, const T* dy, const T* x, const wide_t<T>* gamma, const wide_t<T>* mean,
                  const wide_t<T>* rstd, int64_t width, T* dx, T* d_branch) {
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
    if (d_branch == nullptr) return;
    const RowDropout dropout(texts, mask, s);
    for (int k = 0; k < N; ++k) out.at[k] = from_wide<T>(dropout(to_wide(out.at[k]), h + k));
    store<N>(d_branch + begin + h, out);
  });
}

/// Summands of d_gamma and d_beta, of an element of dy and its x.
template <class W>
struct NormTerms {
  const W *mean, *rstd;
  __device__ Several<W, 2> operator()(int64_t i, W dy, W x) const { return {{dy * (x - mean[i]) * rstd[i], dy}}; }
};

/// y = dropout(x). One block a token.
template <int N, class T>
__global__ void __launch_bounds__(block_threads) drop(TextsView texts, DropoutMask mask, const T* x, int64_t width, T* y) {
  const int64_t s = blockIdx.x, begin = s * width;
  const RowDropout dropout(texts, mask, s);
  each<N>(width, [&](int64_t h) {
    const Several<T, N> v = load<N>(x + begin + h);
    Several<T, N> out{};
    for (int k = 0; k < N; ++k) out.at[k] = from_wide<T>(dropout(to_wide(v.at[k]), h + k));
    store<N>(y + begin + h, out);
  });
}

/// dx and, where it is not empty, d_branch, after the sums: dx may be dy. part: column_parts<2>(rows, H) numbers of the wide dtype.
template <class T>
void backward(cudaStream_t stream, const TextsView& texts, const DropoutMask& mask, ConstTensor dy, ConstTensor x, ConstTensor gamma,
              ConstTensor mean, ConstTensor rstd, Tensor dx, Tensor d_branch, Tensor d_gamma, Tensor d_beta, std::byte* part) {
  using W = wide_t<T>;
  const int64_t rows = x.dim(0), width = x.dim(1);
  add_columns<2>(stream, rows, width, NormTerms<W>{elements<W>(mean), elements<W>(rstd)}, reinterpret_cast<W*>(part),
                 {{elements<W>(d_gamma), elements<W>(d_beta)}}, elements<T>(dy), elements<T>(x));
  for_row_width<T>(width, aligned_16(dy, x, gamma, dx, d_branch), [&](auto n) {
    launch(norm_backward<decltype(n)::value, T>, rows, block_threads, 0, stream, texts, mask, elements<T>(dy), elements<T>(x),
           elements<W>(gamma), elements<W>(mean), elements<W>(rstd), width, elements<T>(dx),
           d_branch.empty() ? nullptr : elements<T>(d_branch));
  });
}

/// Bytes of part for backward().
size_t part_bytes(ConstTensor x, ConstTensor mean) {
  return static_cast<size_t>(column_parts<2>(x.dim(0), x.dim(1))) * size_of(mean.dtype());
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
  for_compute("layer_norm_backward", x.dtype(), [&]<class T>(T) {
    backward<T>(enqueue("layer_norm_backward", dy), TextsView(DeviceTexts{}), DropoutMask({}, 0), dy, x, gamma, mean, rstd, dx, {}, d_gamma,
                d_beta, scratch(part_bytes(x, mean)));
  });
}

void CudaBackend::dropout(const DeviceTexts& texts, ConstTensor x, Dropout dropout, Tensor y) {
  checks::token_rows("dropout", "x", texts, x);
  checks::same("dropout", "y", x, y);
  checks::dropout("dropout", texts, dropout);
  for_compute("dropout", x.dtype(), [&]<class T>(T) {
    for_row_width<T>(x.dim(1), aligned_16(x, y), [&](auto n) {
      launch(drop<decltype(n)::value, T>, x.dim(0), block_threads, 0, enqueue("dropout", x), TextsView(texts),
             DropoutMask(dropout.key, dropout.p), elements<T>(x), x.dim(1), elements<T>(y));
    });
  });
}

void CudaBackend::residual_layer_norm_forward(const DeviceTexts& texts, ConstTensor residual, ConstTensor branch, Dropout dropout,
                                              ConstTensor gamma, ConstTensor beta, double eps, Tensor sum, Tensor y, Tensor mean,
                                              Tensor rstd) {
  const char* const op = "residual_layer_norm_forward";
  checks::same(op, "residual", branch, residual);
  checks::same(op, "sum", branch, sum);
  checks::token_rows(op, "branch", texts, branch);
  checks::dropout(op, texts, dropout);
  checks::layer_norm_forward(sum, gamma, beta, y, mean, rstd);
  const int64_t width = branch.dim(1);
  for_compute(op, branch.dtype(), [&]<class T>(T) {
    using W = wide_t<T>;
    for_row_width<T>(width, aligned_16(residual, branch, gamma, beta, sum, y), [&](auto n) {
      launch(residual_norm_forward<decltype(n)::value, T>, branch.dim(0), block_threads, 0, enqueue(op, residual), TextsView(texts),
             DropoutMask(dropout.key, dropout.p), elements<T>(residual), elements<T>(branch), elements<W>(gamma), elements<W>(beta),
             static_cast<W>(eps), width, elements<T>(sum), elements<T>(y), elements<W>(mean), elements<W>(rstd));
    });
  });
}

void CudaBackend::residual_layer_norm_backward(const DeviceTexts& texts, ConstTensor dy, ConstTensor sum, Dropout dropout,
                                               ConstTensor gamma, ConstTensor mean, ConstTensor rstd, Tensor d_residual, Tensor d_branch,
                                               Tensor d_gamma, Tensor d_beta) {
  const char* const op = "residual_layer_norm_backward";
  checks::layer_norm_backward(dy, sum, gamma, mean, rstd, d_residual, d_gamma, d_beta);
  checks::same(op, "d_branch", d_residual, d_branch);
  checks::token_rows(op, "d_residual", texts, d_residual);
  checks::dropout(op, texts, dropout);
  for_compute(op, dy.dtype(), [&]<class T>(T) {
    backward<T>(enqueue(op, dy), TextsView(texts), DropoutMask(dropout.key, dropout.p), dy, sum, gamma, mean, rstd, d_residual, d_branch,
                d_gamma, d_beta, scratch(part_bytes(sum, mean)));
  });
}

}  // namespace lodestone
