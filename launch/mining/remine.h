// Ranks a row's stored negatives anew, by the weights as they are now.
#pragma once

#include "core/nn/encoder.h"
#include "core/similarity.h"
#include "data/batches/collate.h"
#include "launch/mining/mining.h"
#include "losses/embedding_objective.h"

namespace lodestone {

/// Embeds a row's query and all its negatives, without dropout, and orders the negatives by similarity. The rows are read while the
/// loader's thread waits.
class WeightRanker final : public NegativeRanker {
 public:
  /// All must outlive it. `ex` is the run's; lengths and prompts are the task's.
  WeightRanker(Exec ex, const Encoder& encoder, int64_t chunk_tokens, Similarity similarity, const RowSource& rows,
               const CollateConfig& lengths, Framing framing)
      : ex_(ex),
        encoder_(encoder),
        chunk_tokens_(chunk_tokens),
        similarity_(similarity),
        rows_(rows),
        lengths_(lengths),
        framing_(std::move(framing)) {}
  std::vector<std::vector<int32_t>> rank(std::span<const int64_t> rows) override;

 private:
  Exec ex_;
  const Encoder& encoder_;
  int64_t chunk_tokens_;
  Similarity similarity_;
  const RowSource& rows_;
  CollateConfig lengths_;
  Framing framing_;
};

}  // namespace lodestone
