// LengthChunks: the texts of a batch, sorted by length and cut into chunks that each fit a token budget.
#pragma once

#include <vector>

#include "core/batch.h"

namespace lodestone {

/// Owns the reordered ids, offsets, keys and beginnings of type 1; reuses its memory from batch to batch. A chunk's texts differ little in
/// length and its token count is near the budget, so few shapes occur.
class LengthChunks {
 public:
  /// Orders texts by ascending length (equal lengths by index) and cuts greedily from the longest down: a chunk has at least one
  /// text and, if it has more, at most `chunk_tokens` tokens. Only the first chunk may be far from full.
  void assign(const TokenBatch& batch, int64_t chunk_tokens);

  int64_t count() const { return static_cast<int64_t>(chunks_.size()); }
  /// The texts of chunk c as a batch of their own. Valid until the next assign().
  TokenBatch tokens(int64_t c) const;
  /// Places [begin, end) of chunk c's texts in the sorted order.
  Slice places(int64_t c) const { return chunks_[static_cast<size_t>(c)].places; }
  /// Index in the batch of the text at each sorted place.   [B]
  std::span<const int64_t> order() const { return order_; }

 private:
  struct Chunk {
    Slice places, ids;    // texts, and their tokens in ids_
    int64_t offsets = 0;  // where its texts + 1 offsets begin in offsets_
  };
  std::vector<Chunk> chunks_;
  std::vector<int64_t> order_, offsets_;
  std::vector<int32_t> ids_;
  std::vector<uint64_t> keys_;
  std::vector<int64_t> second_;
};

}  // namespace lodestone
