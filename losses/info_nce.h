// InfoNCE: softmax cross-entropy of each query's positive among candidate passages, and of each positive's query among queries.
#pragma once

#include "losses/candidates.h"
#include "losses/false_negatives.h"
#include "losses/loss.h"
#include "losses/score_precision.h"
#include "losses/settings.h"

namespace lodestone {

enum class Direction : uint8_t {
  query_to_passage,  // each query looks for its positive among passages
  both,              // averaged with: each positive looks for its query among the other queries
};

/// The specification, on plain arrays and one process. With s = cosine over the first d components, j over candidate passages and
/// k over candidate queries:
///   among_passages = 1/N sum_i ( log sum_j exp(s(q_i, p_j) / temperature) - s(q_i, p_{i G}) / temperature )
///   among_queries  = 1/N sum_i ( log sum_k exp(s(q_k, p_{i G}) / temperature) - s(q_i, p_{i G}) / temperature )
///   loss = among_passages, or (among_passages + among_queries) / 2
/// With own_group a positive has no other query to be told from, and the loss is among_passages alone.
struct InfoNceInput {
  std::span<const double> queries = {};   // [N,E]
  std::span<const double> passages = {};  // [N*G,E], query-major, the positive first
  int64_t embedding = 0;                  // E
  int64_t dimensions = 0;                 // d <= E
  int64_t group = 1;                      // G
  double temperature = 0.05;
  Candidates candidates = Candidates::all_ranks;
  Direction direction = Direction::query_to_passage;
  TextHashes hashes = {};  // given: false negatives are masked
};

/// Returns the loss; d_queries [N,E] and d_passages [N*G,E] are set to its gradient with respect to the raw vectors.
double info_nce(const InfoNceInput& in, std::span<double> d_queries, std::span<double> d_passages);

struct InfoNceOptions {
  double temperature = 0.05;
  Candidates candidates = Candidates::all_ranks;
  Direction direction = Direction::query_to_passage;
  Duplicates duplicates = Duplicates::kept;
  ScorePrecision score_precision = ScorePrecision::f32;  // of scores with other queries' texts
  /// Logits held at once. A tile has at least min(B, 64) rows, so its memory grows with N as the embeddings' does.
  int64_t tile_elements = int64_t{1} << 20;
};
/// A temperature that is not positive; both directions, or rounded scores, with own_group.
std::optional<Refusal> refused(const InfoNceOptions& options);

/// The same on tensors and ranks. Local rows meet all candidates in tiles; the gradient of every candidate goes back to the rank
/// that owns it, summed over ranks, so it is exact. Ranks may hold different numbers of queries, or none.
class InfoNce final : public Loss {
 public:
  /// Throws Error (usage, "config") where its settings are refused.
  explicit InfoNce(const InfoNceOptions& options);
  LossResult evaluate(Exec& ex, const Group& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb,
                      Tensor share) override;

 private:
  struct Problem;
  LossCounts own_group(const Problem& problem) const;
  LossCounts among_passages(const Problem& problem) const;
  LossCounts among_queries(const Problem& problem) const;

  InfoNceOptions options_;
};

}  // namespace lodestone
