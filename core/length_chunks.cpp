#include "core/length_chunks.h"

#include <algorithm>
#include <numeric>

namespace lodestone {

void LengthChunks::assign(const TokenBatch& batch, int64_t chunk_tokens) {
  const auto texts = static_cast<size_t>(batch.texts());
  order_.resize(texts);
  std::iota(order_.begin(), order_.end(), int64_t{0});
  std::sort(order_.begin(), order_.end(),
            [&](int64_t a, int64_t b) { return batch.length(a) != batch.length(b) ? batch.length(a) < batch.length(b) : a < b; });

  chunks_.clear();
  offsets_.clear();
  ids_.clear();
  keys_.clear();
  second_.clear();
  // Boundaries, from the longest text down, so that the chunk left over is the one of the shortest texts.
  int64_t chunk_length = 0;
  for (auto place = static_cast<int64_t>(texts); place-- > 0;) {
    const int64_t length = batch.length(order_[static_cast<size_t>(place)]);
    if (chunks_.empty() || chunk_length + length > chunk_tokens) {
      chunks_.push_back({{place, place + 1}, {}, 0});
      chunk_length = 0;
    }
    chunks_.back().places.begin = place;
    chunk_length += length;
  }
  std::reverse(chunks_.begin(), chunks_.end());

  for (Chunk& chunk : chunks_) {
    chunk.ids.begin = static_cast<int64_t>(ids_.size());
    chunk.offsets = static_cast<int64_t>(offsets_.size());
    offsets_.push_back(0);
    for (int64_t place = chunk.places.begin; place < chunk.places.end; ++place) {
      const auto text = static_cast<size_t>(order_[static_cast<size_t>(place)]);
      const auto begin = batch.ids.begin() + batch.offsets[text];
      ids_.insert(ids_.end(), begin, begin + batch.length(static_cast<int64_t>(text)));
      if (!batch.keys.empty()) keys_.push_back(batch.keys[text]);
      if (!batch.second.empty()) second_.push_back(batch.second[text]);
      offsets_.push_back(static_cast<int64_t>(ids_.size()) - chunk.ids.begin);
    }
    chunk.ids.end = static_cast<int64_t>(ids_.size());
  }
}

TokenBatch LengthChunks::tokens(int64_t c) const {
  const Chunk& chunk = chunks_[static_cast<size_t>(c)];
  const auto texts = static_cast<size_t>(chunk.places.count());
  TokenBatch batch;
  batch.ids = std::span(ids_).subspan(static_cast<size_t>(chunk.ids.begin), static_cast<size_t>(chunk.ids.count()));
  batch.offsets = std::span(offsets_).subspan(static_cast<size_t>(chunk.offsets), texts + 1);
  const auto begin = static_cast<size_t>(chunk.places.begin);
  if (!keys_.empty()) batch.keys = std::span(keys_).subspan(begin, texts);
  if (!second_.empty()) batch.second = std::span(second_).subspan(begin, texts);
  return batch;
}

}  // namespace lodestone
