// Token, position and type embeddings, forward and backward. Bytes forward: three rows read (two of them mostly from cache) and one written
// a token. Backward without atomic sums: a row of d_word belongs to the block of the first token that has its id, which adds all others in
// their order; so every block reads the ids before it, S^2 / 2 of them together from cache, which is what is slow here for S above about
// 30,000. The same for positions over texts, and d_type as a sum of columns. dy is read three times, and four times where there are two
// types. FLOPs: 2 an element forward, 3 or 4 backward.
#include "core/checks.h"
#include "core/cuda/cuda_backend.h"
#include "core/cuda/device/columns.h"
#include "core/cuda/device/rows.h"
#include "core/cuda/device/texts.h"

namespace lodestone {

namespace {

using namespace cuda;

constexpr int block_threads = 128;

/// One block a token.
template <int N, class T>
__global__ void __launch_bounds__(block_threads)
    embed(TextsView texts, const wide_t<T>* word, const wide_t<T>* position, const wide_t<T>* type, int64_t width, T* y) {
  const int64_t s = blockIdx.x;
  const wide_t<T>*const w = word + texts.ids[s] * width, *const p = position + texts.place[s] * width,
                        *const k = type + texts.type(s) * width;
  each<N>(width, [&](int64_t h) {
    const Several<wide_t<T>, N> a = load<N>(w + h), b = load<N>(p + h), c = load<N>(k + h);
    Several<T, N> out{};
    for (int e = 0; e < N; ++e) out.at[e] = from_wide<T>(a.at[e] + b.at[e] + c.at[e]);
    store<N>(y + s * width + h, out);
  });
}

/// d_word[id] += dy of all tokens with the id, by the block of the first of them. One block a token.
template <class T>
__global__ void __launch_bounds__(block_threads) add_to_words(TextsView texts, const T* dy, int64_t width, wide_t<T>* d_word) {
  __shared__ int found[2];  // for this stretch of ids, and for the next
  const int64_t s = blockIdx.x;
  const int32_t id = texts.ids[s];
  // An equal id before this one: then its block does it.
  bool mine = true;
  for (int64_t begin = 0; begin < s && mine; begin += blockDim.x) {
    const int64_t i = begin + threadIdx.x;
    const bool equal = i < s && texts.ids[i] == id;
    const unsigned lanes = __ballot_sync(~0u, equal);
    if (threadIdx.x == 0) found[0] = 0;
    __syncthreads();
    if (lanes != 0 && threadIdx.x % warp_size == 0) found[0] = 1;
    __syncthreads();
    mine = found[0] == 0;
    __syncthreads();
  }
  if (!mine) return;
  for (int64_t h = threadIdx.x; h < width; h += blockDim.x) {
    wide_t<T> sum = 0;
    for (int64_t i = s; i < texts.tokens; ++i)
      if (texts.ids[i] == id) sum += to_wide(dy[i * width + h]);
    d_word[id * width + h] += sum;
  }
}

/// d_position[t] += dy of token t of every text that has one. One block a position.
template <class T>
__global__ void __launch_bounds__(block_threads) add_to_positions(TextsView texts, const T* dy, int64_t width, wide_t<T>* d_position) {
  const int64_t t = blockIdx.x;
  for (int64_t h = threadIdx.x; h < width; h += blockDim.x) {
    wide_t<T> sum = 0;
    for (int64_t b = 0; b < texts.texts; ++b)
      if (texts.offsets[b] + t < texts.offsets[b + 1]) sum += to_wide(dy[(texts.offsets[b] + t) * width + h]);
    d_position[t * width + h] += sum;
  }
}

/// dy of tokens that have the type, 0 of others.
struct OfType {
  TextsView texts;
  int type = 0;
  template <class W>
  __device__ W operator()(int64_t i, W dy) const {
    return texts.type(i) == type ? dy : W{0};
  }
};

}  // namespace

void CudaBackend::embed_forward(const DeviceTexts& texts, ConstTensor word, ConstTensor position, ConstTensor type, Tensor y) {
  checks::embed("embed_forward", texts, checks::wide(y.dtype()), word, position, type, y);
  for_compute("embed_forward", y.dtype(), [&]<class T>(T) {
    using W = wide_t<T>;
    for_row_width<T>(y.dim(1), aligned_16(word, position, type, y), [&](auto n) {
      launch(embed<decltype(n)::value, T>, texts.tokens(), block_threads, 0, enqueue("embed_forward", y), TextsView(texts),
             elements<W>(word), elements<W>(position), elements<W>(type), y.dim(1), elements<T>(y));
    });
  });
}

void CudaBackend::embed_backward(const DeviceTexts& texts, ConstTensor dy, Tensor d_word, Tensor d_position, Tensor d_type) {
  checks::embed("embed_backward", texts, checks::wide(dy.dtype()), d_word, d_position, d_type, dy);
  const cudaStream_t stream = enqueue("embed_backward", dy);
  const TextsView view(texts);
  const int64_t tokens = texts.tokens(), width = dy.dim(1);
  for_compute("embed_backward", dy.dtype(), [&]<class T>(T) {
    using W = wide_t<T>;
    launch(add_to_words<T>, tokens, block_threads, 0, stream, view, elements<T>(dy), width, elements<W>(d_word));
    launch(add_to_positions<T>, texts.longest, block_threads, 0, stream, view, elements<T>(dy), width, elements<W>(d_position));
    auto* const part = reinterpret_cast<W*>(scratch(static_cast<size_t>(column_parts<1>(tokens, width)) * sizeof(W)));
    for (int kind = 0; kind < (texts.second.empty() ? 1 : 2); ++kind)
      add_columns<1>(stream, tokens, width, OfType{view, kind}, part, {{elements<W>(d_type) + kind * width}}, elements<T>(dy));
  });
}

}  // namespace lodestone
