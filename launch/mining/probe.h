// Scores the negatives of rows that training has not drawn lately, by the weights as they are.
#pragma once

#include "core/nn/encoder.h"
#include "core/similarity.h"
#include "data/batches/collate.h"
#include "data/plan/plan.h"
#include "launch/mining/mining.h"

namespace lodestone {

/// Where rows to be probed come from: an endless sequence in which every row that the plan trains on comes once a cycle. Cycles are
/// permutations keyed by the plan's seed and task, so the sequence is the same on any number of ranks.
class ProbeSequence {
 public:
  /// Both must outlive it.
  ProbeSequence(const Plan& plan, const RowSource& rows);
  /// Global ids of the rows at places [first, first + count).
  std::vector<int64_t> rows(int64_t first, int64_t count) const;

 private:
  const Plan& plan_;
  const RowSource& rows_;
  Key key_;
  std::vector<int64_t> before_;  // [sources + 1] rows of the plan's sources before each, and in all
};

/// Collates a row as training does and embeds it, dropout included, so that its scores are like those of training. Rows are read
/// while the loader's thread waits.
class WeightProbe final : public NegativeProbe {
 public:
  /// All must outlive it. `ex` is the run's; `texts` are the task's lengths, seed and choice of positives.
  WeightProbe(Exec ex, const Encoder& encoder, int64_t chunk_tokens, Similarity similarity, const CollateConfig& texts, Framing framing,
              const Plan& plan, const RowSource& rows)
      : ex_(ex),
        encoder_(encoder),
        chunk_tokens_(chunk_tokens),
        similarity_(similarity),
        texts_(texts),
        framing_(std::move(framing)),
        rows_(rows),
        sequence_(plan, rows) {}
  std::vector<int64_t> rows(int64_t first, int64_t count) override { return sequence_.rows(first, count); }
  ProbedScores score(int64_t step, std::span<const int64_t> rows, int64_t negatives, const NegativeWindows& windows) override;

 private:
  Exec ex_;
  const Encoder& encoder_;
  int64_t chunk_tokens_;
  Similarity similarity_;
  CollateConfig texts_;
  Framing framing_;
  const RowSource& rows_;
  ProbeSequence sequence_;
};

}  // namespace lodestone
