// How many bytes of step memory RetroMAE's decoder and head keep and need, mirrored from what they take.
#include <algorithm>

#include "core/nn/mlm_decoder.h"
#include "core/nn/mlm_head.h"

namespace lodestone {

namespace {

/// Sizes of the tensors that layers take from the arena, for one chunk.
struct Sizes {
  const Exec& ex;
  int64_t tokens;
  size_t rows(int64_t columns) const { return Arena::taken_bytes(ex.compute, {padded_rows(ex, tokens), columns}); }
  size_t statistic() const { return Arena::taken_bytes(ex.wide(), {tokens}); }
};

}  // namespace

size_t MlmHead::work_bytes(const Exec& ex, int64_t rows) const {
  const Sizes s{ex, rows};
  const int64_t H = hidden(), tile_rows = std::min(padded_rows(ex, rows), padded_rows(ex, tile_.rows));
  const int64_t elements = std::min(std::max(tile_.elements, tile_rows), tile_rows * vocab());
  const size_t tile =
      Arena::taken_bytes(ex.wide(), {elements}) + (ex.compute == ex.wide() ? 0 : Arena::taken_bytes(ex.compute, {elements}));
  const size_t wide_rows = Arena::taken_bytes(ex.wide(), {padded_rows(ex, rows), H});
  return 3 * s.rows(H) + 2 * s.statistic() + wide_rows + std::max(2 * s.statistic() + tile, s.rows(H));
}

size_t MlmDecoder::saved_bytes(const Exec& ex, int64_t tokens) const {
  const Sizes s{ex, tokens};
  const int64_t H = hidden_, F = mlp_.feed_forward();
  const size_t embedding = s.rows(H) + 2 * s.statistic(), lse = Arena::taken_bytes(ex.wide(), {tokens, heads_});
  const size_t layer = lse + s.rows(3 * H) + 4 * s.rows(H) + 2 * s.rows(F) + 4 * s.statistic();  // q, k and v in one matrix
  if (decoding_ == Decoding::basic) return embedding + s.rows(H) + layer;
  const size_t streams = (h1_mode_ == QueryStream::embed_block ? 2 : 1) * embedding + 2 * s.rows(H);
  return streams + layer - s.rows(3 * H) + s.rows(H) + s.rows(2 * H);
}

size_t MlmDecoder::work_bytes(const Exec& ex, int64_t tokens, int64_t texts) const {
  const Sizes s{ex, tokens};
  const int64_t H = hidden_;
  const size_t mlp = s.rows(H) + s.rows(mlp_.feed_forward());
  const size_t sentences = Arena::taken_bytes(ex.compute, {texts, H}) + Arena::taken_bytes(ex.wide(), {texts, H});
  const size_t unused_type = Arena::taken_bytes(ex.wide(), {1, H});
  if (decoding_ == Decoding::basic) return std::max({mlp, 2 * s.rows(H) + s.rows(3 * H), sentences});
  return std::max(mlp, s.rows(H) + std::max({3 * s.rows(H) + s.rows(2 * H), sentences, unused_type}));
}

}  // namespace lodestone
