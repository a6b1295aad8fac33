// Rows chosen by their places, and put back. Bytes: a row read and written for each place; FLOPs: none.
#include "core/checks.h"
#include "core/cuda/cuda_backend.h"
#include "core/cuda/device/values.h"

namespace lodestone {

namespace {

using namespace cuda;

constexpr int block_threads = 128;

/// One block a row of `words` words: to[i] = from[places[i]], or to[places[i]] = from[i] where Put. Stops the device at a place that is
/// none.
template <class Word, bool Put>
__global__ void __launch_bounds__(block_threads) move_rows(const Word* from, const int64_t* places, int64_t words, int64_t rows, Word* to) {
  const int64_t i = blockIdx.x, place = places[i];
  if (place < 0 || place >= rows) __trap();
  const Word* const source = from + (Put ? i : place) * words;
  Word* const target = to + (Put ? place : i) * words;
  for (int64_t k = threadIdx.x; k < words; k += blockDim.x) target[k] = source[k];
}

/// Calls body with a word that divides rows of `bytes` bytes at these addresses.
template <class Body>
void for_words(size_t bytes, bool aligned, const Body& body) {
  if (aligned && bytes % sizeof(uint4) == 0) return body(uint4{});
  if (bytes % sizeof(uint32_t) == 0) return body(uint32_t{});
  body(uint16_t{});
}

template <bool Put>
void move(cudaStream_t stream, ConstTensor from, ConstTensor places, int64_t rows, Tensor to) {
  const size_t bytes = static_cast<size_t>(from.dim(1)) * size_of(from.dtype());
  for_words(bytes, aligned_16(from, to), [&]<class Word>(Word) {
    launch(move_rows<Word, Put>, places.count(), block_threads, 0, stream, elements<Word>(from), elements<int64_t>(places),
           static_cast<int64_t>(bytes / sizeof(Word)), rows, elements<Word>(to));
  });
}

}  // namespace

void CudaBackend::select_rows(ConstTensor x, ConstTensor places, Tensor y) {
  checks::chosen_rows("select_rows", x, places, y);
  move<false>(enqueue("select_rows", x), x, places, x.dim(0), y);
}

void CudaBackend::place_rows(ConstTensor x, ConstTensor places, Tensor y) {
  checks::chosen_rows("place_rows", y, places, x);
  move<true>(enqueue("place_rows", x), x, places, y.dim(0), y);
}

}  // namespace lodestone
