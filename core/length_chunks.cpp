#include "core/length_chunks.h"

#include <algorithm>
#include <numeric>

namespace lodestone {

void LengthChunks::assign(const TokenBatch& batch, int64_t chunk_tokens) {
  const auto texts = static_cast<size_t>(batch.texts());
  order_.resize(texts);
  std::iota(order_.begin(), order_.end(), int64_t{0});
  std::sort(order_.begin(), order_.end(), [&](int64_t a, int64_t b) {
    return batch.length(a) != batch.length(b) ? batch.length(a) < batch.length(b) : a < b;
  });

  chunks_.clear();
  offsets_.clear();
  ids_.clear();
  keys_.clear();
  for (const int64_t text : order_) {
    const int64_t length = batch.length(text), place = chunks_.empty() ? 0 : chunks_.back().places.end;
    if (chunks_.empty() || chunks_.back().ids.count() + length > chunk_tokens) {
      const auto used = static_cast<int64_t>(ids_.size());
      chunks_.push_back({{place, place}, {used, used}, static_cast<int64_t>(offsets_.size())});
      offsets_.push_back(0);
    }
    Chunk& chunk = chunks_.back();
    const auto ids = batch.ids.subspan(static_cast<size_t>(batch.offsets[static_cast<size_t>(text)]), static_cast<size_t>(length));
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    if (!batch.keys.empty()) keys_.push_back(batch.keys[static_cast<size_t>(text)]);
    chunk.places.end += 1;
    chunk.ids.end += length;
    offsets_.push_back(chunk.ids.count());
  }
}

TokenBatch LengthChunks::tokens(int64_t c) const {
  const Chunk& chunk = chunks_[static_cast<size_t>(c)];
  const auto texts = static_cast<size_t>(chunk.places.count());
  TokenBatch batch;
  batch.ids = std::span(ids_).subspan(static_cast<size_t>(chunk.ids.begin), static_cast<size_t>(chunk.ids.count()));
  batch.offsets = std::span(offsets_).subspan(static_cast<size_t>(chunk.offsets), texts + 1);
  if (!keys_.empty()) batch.keys = std::span(keys_).subspan(static_cast<size_t>(chunk.places.begin), texts);
  return batch;
}

}  // namespace lodestone
