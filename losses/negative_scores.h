// Negative scores: how similar queries and their own negatives are, for mining.
#pragma once

#include <span>
#include <vector>

#include "core/batch.h"
#include "core/similarity.h"
#include "losses/loss.h"

namespace lodestone {

/// scores[i (G-1) + k] = similarity of query i and its k-th negative, over the whole vectors; computed in double from emb's values.
/// Downloads B (G-1) products and, for cosines, the squares of all texts at once.   emb [B + B G, E] as Pairs orders it, un-normalised, f32
/// or f64; scores [B (G-1)].
void negative_scores(Exec& ex, ConstTensor emb, const Pairs& pairs, Similarity similarity, std::span<double> scores);
/// means[i] = mean of a query's scores, added in their order. scores [B (G-1)], means [B]; G > 1.
void mean_per_query(std::span<const double> scores, std::span<double> means);

/// A loss whose results also have the scores of the negatives: they cost B (G-1) E multiplications and one download.
class ScoredLoss final : public Loss {
 public:
  ScoredLoss(std::unique_ptr<Loss> loss, Similarity similarity) : loss_(std::move(loss)), similarity_(similarity) {}
  LossResult evaluate(Exec& ex, const Group& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb,
                      Tensor share) override;

 private:
  std::unique_ptr<Loss> loss_;
  Similarity similarity_;
  std::vector<double> scores_;
};

/// Orders candidates for a query anew, hardest first: places of `candidates` by descending similarity with `query`, equal ones by
/// place. Repetitions of a text are left out.
///   query [E], candidates [M,E], both on the host, un-normalised and of one dtype; hashes [M] text hashes.
std::vector<int32_t> rank_candidates(ConstTensor query, ConstTensor candidates, Similarity similarity, std::span<const uint64_t> hashes);

}  // namespace lodestone
