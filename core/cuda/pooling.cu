// Sentence vectors: pooling and normalisation, forward and backward. Bytes: pooling reads the tokens' rows once (mean) or one row a text,
// and backward writes the tokens' rows once; normalisation reads x, or y and dy, twice (once from cache), writes y, and backward reads and
// writes dx. FLOPs: at most 6 an element.
#include "core/checks.h"
#include "core/cuda/cuda_backend.h"
#include "core/cuda/device/reduce.h"
#include "core/cuda/device/rows.h"
#include "core/cuda/device/texts.h"

namespace lodestone {

namespace {

using namespace cuda;

constexpr int block_threads = 128;
constexpr double smallest_norm = 1e-12;

/// What token t of a text of `length` tokens contributes to its vector. An empty text has the zero vector.
template <class W>
__device__ W pooling_weight(Pooling pooling, int64_t t, int64_t length) {
  if (pooling == Pooling::mean) return W{1} / static_cast<W>(length);
  return t == (pooling == Pooling::cls ? 0 : length - 1) ? W{1} : W{0};
}

/// One block a text.
template <int N, class T>
__global__ void __launch_bounds__(block_threads) pool(TextsView texts, const T* x, Pooling pooling, int64_t width, wide_t<T>* y) {
  using W = wide_t<T>;
  const int64_t b = blockIdx.x, begin = texts.offsets[b], length = texts.offsets[b + 1] - begin;
  const int64_t first = pooling == Pooling::last_token && length > 0 ? length - 1 : 0;
  const int64_t end = pooling == Pooling::cls && length > 0 ? 1 : length;
  const W weight = pooling_weight<W>(pooling, first, length);  // of each of these tokens
  each<N>(width, [&](int64_t h) {
    Several<W, N> sum{};
    for (int64_t t = first; t < end; ++t) {
      const Several<T, N> v = load<N>(x + (begin + t) * width + h);
      for (int k = 0; k < N; ++k) sum.at[k] += weight * to_wide(v.at[k]);
    }
    store<N>(y + b * width + h, sum);
  });
}

/// One block a token.
template <int N, class T>
__global__ void __launch_bounds__(block_threads) spread(TextsView texts, const wide_t<T>* dy, Pooling pooling, int64_t width, T* dx) {
  const int64_t s = blockIdx.x, b = texts.text_of[s];
  const wide_t<T> weight = pooling_weight<wide_t<T>>(pooling, texts.place[s], texts.offsets[b + 1] - texts.offsets[b]);
  each<N>(width, [&](int64_t h) {
    const Several<wide_t<T>, N> d = load<N>(dy + b * width + h);
    Several<T, N> out{};
    for (int k = 0; k < N; ++k) out.at[k] = from_wide<T>(weight * d.at[k]);
    store<N>(dx + s * width + h, out);
  });
}

/// One block a row of x [B,E], of which the first d columns are normalised.
template <int N, class T>
__global__ void __launch_bounds__(block_threads) normalize(const T* x, int64_t width, int64_t d, T* y, T* norms) {
  __shared__ T parts[warp_size];
  const int64_t b = blockIdx.x;
  T squares = 0;
  each<N>(d, [&](int64_t e) {
    const Several<T, N> v = load<N>(x + b * width + e);
    for (int k = 0; k < N; ++k) squares += v.at[k] * v.at[k];
  });
  const T norm = sqrt(reduce_block(squares, Add{}, T{0}, parts));
  const T divisor = norm > static_cast<T>(smallest_norm) ? norm : static_cast<T>(smallest_norm);
  each<N>(d, [&](int64_t e) {
    Several<T, N> v = load<N>(x + b * width + e);
    for (int k = 0; k < N; ++k) v.at[k] /= divisor;
    store<N>(y + b * d + e, v);
  });
  if (threadIdx.x == 0) norms[b] = norm;
}

/// dx += (dy - y <y, dy>) / |x|; below the smallest norm the divisor is constant, so dx += dy / 1e-12.
template <int N, class T>
__global__ void __launch_bounds__(block_threads)
    normalize_backward(const T* dy, const T* y, const T* norms, int64_t width, int64_t d, T* dx) {
  __shared__ T parts[warp_size];
  const int64_t b = blockIdx.x;
  const bool above = norms[b] > static_cast<T>(smallest_norm);
  T along = 0;
  each<N>(above ? d : 0, [&](int64_t e) {
    const Several<T, N> v = load<N>(y + b * d + e), dv = load<N>(dy + b * d + e);
    for (int k = 0; k < N; ++k) along += v.at[k] * dv.at[k];
  });
  along = reduce_block(along, Add{}, T{0}, parts);
  const T divisor = above ? norms[b] : static_cast<T>(smallest_norm);
  each<N>(d, [&](int64_t e) {
    const Several<T, N> v = load<N>(y + b * d + e), dv = load<N>(dy + b * d + e);
    Several<T, N> to = load<N>(dx + b * width + e);
    for (int k = 0; k < N; ++k) to.at[k] += (dv.at[k] - v.at[k] * along) / divisor;
    store<N>(dx + b * width + e, to);
  });
}

/// for_row_width() for rows of two widths.
template <class T, class Body>
void for_row_widths(int64_t width, int64_t d, bool aligned, const Body& body) {
  for_row_width<T>(d, aligned && width % per_16_bytes<T> == 0, body);
}

}  // namespace

void CudaBackend::pool_forward(const DeviceTexts& texts, ConstTensor x, Pooling pooling, Tensor y) {
  checks::pool("pool_forward", texts, x, y);
  for_compute("pool_forward", x.dtype(), [&]<class T>(T) {
    for_row_width<T>(x.dim(1), aligned_16(x, y), [&](auto n) {
      launch(pool<decltype(n)::value, T>, texts.texts(), block_threads, 0, enqueue("pool_forward", x), TextsView(texts), elements<T>(x),
             pooling, x.dim(1), elements<wide_t<T>>(y));
    });
  });
}

void CudaBackend::pool_backward(const DeviceTexts& texts, ConstTensor dy, Pooling pooling, Tensor dx) {
  checks::pool("pool_backward", texts, dx, dy);
  for_compute("pool_backward", dx.dtype(), [&]<class T>(T) {
    for_row_width<T>(dx.dim(1), aligned_16(dx, dy), [&](auto n) {
      launch(spread<decltype(n)::value, T>, texts.tokens(), block_threads, 0, enqueue("pool_backward", dy), TextsView(texts),
             elements<wide_t<T>>(dy), pooling, dx.dim(1), elements<T>(dx));
    });
  });
}

void CudaBackend::l2_normalize_forward(ConstTensor x, Tensor y, Tensor norms) {
  checks::l2_normalize("l2_normalize_forward", x, y, norms);
  for_wide("l2_normalize_forward", x.dtype(), [&]<class T>(T) {
    for_row_widths<T>(x.dim(1), y.dim(1), aligned_16(x, y), [&](auto n) {
      launch(normalize<decltype(n)::value, T>, x.dim(0), block_threads, 0, enqueue("l2_normalize_forward", x), elements<T>(x), x.dim(1),
             y.dim(1), elements<T>(y), elements<T>(norms));
    });
  });
}

void CudaBackend::l2_normalize_backward(ConstTensor dy, ConstTensor y, ConstTensor norms, Tensor dx) {
  checks::l2_normalize("l2_normalize_backward", dx, y, norms);
  checks::same("l2_normalize_backward", "dy", y, dy);
  for_wide("l2_normalize_backward", dx.dtype(), [&]<class T>(T) {
    for_row_widths<T>(dx.dim(1), y.dim(1), aligned_16(dy, y, dx), [&](auto n) {
      launch(normalize_backward<decltype(n)::value, T>, dx.dim(0), block_threads, 0, enqueue("l2_normalize_backward", dy), elements<T>(dy),
             elements<T>(y), elements<T>(norms), dx.dim(1), y.dim(1), elements<T>(dx));
    });
  });
}

}  // namespace lodestone
