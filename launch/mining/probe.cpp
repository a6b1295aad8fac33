#include "launch/mining/probe.h"

#include <algorithm>

#include "data/plan/permutation.h"
#include "losses/embedding_objective.h"
#include "losses/negative_scores.h"

namespace lodestone {

ProbeSequence::ProbeSequence(const Plan& plan, const RowSource& rows)
    : plan_(plan), rows_(rows), key_(Key(plan.config().seed).with("probe").with(plan.config().task)), before_{0} {
  for (const PlanSource& source : plan.sources()) before_.push_back(before_.back() + source.rows);
}

std::vector<int64_t> ProbeSequence::rows(int64_t first, int64_t count) const {
  std::vector<int64_t> ids;
  const int64_t all = before_.back();
  for (int64_t place = first; place < first + count; ++place) {
    const int64_t row = Permutation(key_.with(static_cast<uint64_t>(place / all)), all)(place % all);
    const auto source = std::upper_bound(before_.begin(), before_.end(), row) - before_.begin() - 1;
    const SourceRow at = plan_.locate(static_cast<int32_t>(source), row - before_[static_cast<size_t>(source)]);
    ids.push_back(rows_.row_of(at.source, at.k));
  }
  return ids;
}

ProbedScores WeightProbe::score(int64_t step, std::span<const int64_t> rows, int64_t negatives, const NegativeWindows& windows) {
  CollateConfig config = texts_;
  config.group = 1 + negatives;
  config.select_negative = SelectNegative::window;
  Collator collator(config, framing_, &windows);
  Exec ex = ex_.at(Key(static_cast<uint64_t>(step)).with("probe"));
  ProbedScores probed{{}, std::vector<double>(rows.size() * static_cast<size_t>(negatives))};
  Batch batch;
  LengthChunks chunks;
  for (size_t i = 0; i < rows.size(); ++i) {  // one by one: rows of all sources stand here side by side
    const auto scope = ex.arena.scope();
    collator.collate(rows_, {.step = step, .rows = rows.subspan(i, 1)}, batch);
    const Tensor emb = embed_texts(ex, encoder_, batch.tokens(), chunk_tokens_, chunks);
    negative_scores(ex, emb, batch.pairs(), similarity_,
                    std::span(probed.scores).subspan(i * static_cast<size_t>(negatives), static_cast<size_t>(negatives)));
    probed.available.push_back(batch.row_negatives[0]);
  }
  return probed;
}

}  // namespace lodestone
