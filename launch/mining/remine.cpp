#include "launch/mining/remine.h"

#include "losses/negative_scores.h"

namespace lodestone {

std::vector<std::vector<int32_t>> WeightRanker::rank(std::span<const int64_t> rows) {
  std::vector<std::vector<int32_t>> rankings;
  PackedRow row;
  Batch batch;
  LengthChunks chunks;
  for (const int64_t id : rows) {
    const auto scope = ex_.arena.scope();
    rows_.read(id, row);
    const auto negatives = static_cast<int64_t>(row.negatives.size());
    std::vector<uint64_t> hashes, positives;
    for (const PackedText& text : row.negatives) hashes.push_back(text.text_hash);
    for (const PackedText& text : row.positives) positives.push_back(text.text_hash);
    // The query, one positive, and all negatives in the order of the list.
    CollateConfig config = lengths_;
    config.group = 1 + negatives;
    config.purpose = Purpose::evaluation;
    config.select_positive = SelectPositive::first;
    config.select_negative = SelectNegative::first;
    Collator(config, framing_).collate(rows_, {.rows = std::span(&id, 1)}, batch);
    const ConstTensor emb = ex_.backend.download(embed_texts(ex_, encoder_, batch.tokens(), chunk_tokens_, chunks), ex_.arena);
    ex_.backend.synchronize();
    rankings.push_back(rank_by_cosine(emb.rows(0, 1).reshape({emb.dim(1)}), emb.rows(2, 2 + negatives), hashes, positives));
  }
  return rankings;
}

}  // namespace lodestone
