// RerankerObjective: pairs of texts to scores, and the loss of each query's own group of scores.
#pragma once

#include "core/nn/reranker.h"
#include "losses/group_loss.h"
#include "losses/objective.h"

namespace lodestone {

struct RerankerOptions {
  GroupLossOptions loss = {};
  int64_t chunk_tokens = 1024;  // budget of one call of the reranker; a query's group is never cut
};

/// A batch holds B*G pairs, query-major with the positive first (data/batches/pair_collate.h). A group's loss needs its own G scores only,
/// so the batch is cut into chunks of whole groups: each is scored, gives its gradient and is forgotten. Memory is that of one
/// chunk, nothing is computed twice and nothing travels between ranks. The loss is divided by the global number of queries, so
/// the result does not depend on ranks, nor on chunk_tokens beyond rounding. (Cross-entropy gives the classifier's bias no gradient:
/// a constant added to all scores changes nothing.)
class RerankerObjective final : public Objective {
 public:
  /// `reranker` must outlive the objective.
  RerankerObjective(const Reranker& reranker, const RerankerOptions& options);
  /// Throws Error (data) when distillation is asked for and the batch has no teacher scores.
  LossResult accumulate(Exec ex, const Batch& batch, double weight, Tensor grads, Tensor share, const GradHook& ready) override;
  void evaluate(Exec ex, const Batch& batch, Tensor share) override;
  /// The same from one forward pass that also gives scores [B*G] f64, the pairs' in their order.
  void evaluate(Exec ex, const Batch& batch, Tensor share, Tensor scores);

 private:
  /// Pairs of some consecutive queries as a batch of their own, on the host until the next one is made.
  struct Chunk {
    TokenBatch tokens;
    std::span<const double> teacher_scores;
    int64_t next_query = 0;  // the first query behind it
  };
  Chunk chunk_at(const Batch& batch, int64_t query);
  /// share += the chunk's loss; d_scores [b*G] = its gradient.
  void loss(Exec& ex, const Chunk& chunk, const Batch& batch, double weight, ConstTensor scores, Tensor d_scores, Tensor share) const;

  const Reranker& reranker_;
  RerankerOptions options_;
  std::vector<int64_t> offsets_;  // of the chunk at hand
};

}  // namespace lodestone
