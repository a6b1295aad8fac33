#include "launch/mining/remine.h"

#include "losses/negative_scores.h"

namespace lodestone {

std::vector<std::vector<int32_t>> WeightRanker::rank(std::span<const int64_t> rows) {
  std::vector<std::vector<int32_t>> rankings;
  PackedRow row;
  std::vector<int64_t> usable;
  Batch batch;
  LengthChunks chunks;
  for (const int64_t id : rows) {
    const auto scope = ex_.arena.scope();
    rows_.read(id, row);
    usable_negatives(row, lengths_.select_positive, usable);
    const auto negatives = std::ssize(usable);
    std::vector<uint64_t> hashes;
    hashes.reserve(usable.size());
    for (const int64_t place : usable) hashes.push_back(text_at(row, place).text_hash);
    // The query, one positive, and all negatives to choose from, in the order of the list: places are those that collating counts.
    CollateConfig config = lengths_;
    config.group = 1 + negatives;
    config.purpose = Purpose::evaluation;
    config.select_negative = SelectNegative::first;
    Collator(config, framing_).collate(rows_, {.rows = std::span(&id, 1)}, batch);
    const ConstTensor emb = ex_.backend.download(embed_texts(ex_, encoder_, batch.tokens(), chunk_tokens_, chunks), ex_.arena);
    ex_.backend.synchronize();
    rankings.push_back(rank_candidates(emb.rows(0, 1).reshape({emb.dim(1)}), emb.rows(2, 2 + negatives), similarity_, hashes));
  }
  return rankings;
}

}  // namespace lodestone
