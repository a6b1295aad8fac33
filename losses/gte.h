// The improved contrastive loss of GTE: one softmax over passages, queries and positives at once.
#pragma once

#include "losses/candidates.h"
#include "losses/false_negatives.h"
#include "losses/loss.h"
#include "losses/score_precision.h"
#include "losses/settings.h"

namespace lodestone {

/// How often the score of a query and its positive stands in its softmax.
enum class PositiveTerms : uint8_t {
  twice,  // as the paper's formula has it: the loss is at least log 2
  once,
};

/// Which of the other queries' passages a positive is compared with.
enum class PositiveRivals : uint8_t {
  positives,
  all_passages,  // hard negatives too
};

/// The specification, on plain arrays and one process (Li et al. 2023, "Towards General Text Embeddings with Multi-stage
/// Contrastive Learning", equations 5 to 7; hard negatives are ours). With s = cosine over the first d components divided by the
/// temperature, d_i = p_{i G} the positive of query i, and sums over the candidates:
///   Z_i  = sum_j exp s(q_i, p_j) + sum_{j != i} exp s(q_i, q_j) + sum_j exp s(q_j, d_i) + sum_{j != i} exp s(d_j, d_i)
///   loss = 1/N sum_i ( log Z_i - s(q_i, d_i) )
/// `once` leaves j = i out of the third sum; all_passages puts the other queries' hard negatives into the fourth. With own_group
/// the candidates of query i are its own passages in the first sum and itself in the third. With hashes, false negatives are in none
/// of the sums: p_j of q_i in the first and fourth, q_j of q_i in the second, d_i of q_j in the third. s(q_i, d_i) itself stays in
/// both of its places.
struct GteInput {
  std::span<const double> queries = {};   // [N,E]
  std::span<const double> passages = {};  // [N*G,E], query-major, the positive first
  int64_t embedding = 0;                  // E
  int64_t dimensions = 0;                 // d <= E
  int64_t group = 1;                      // G
  double temperature = 0.01;
  PositiveTerms positive_terms = PositiveTerms::twice;
  PositiveRivals positive_rivals = PositiveRivals::positives;
  Candidates candidates = Candidates::all_ranks;
  TextHashes hashes = {};  // given: false negatives are masked
};

/// Returns the loss; d_queries [N,E] and d_passages [N*G,E] are set to its gradient with respect to the raw vectors.
double gte(const GteInput& in, std::span<double> d_queries, std::span<double> d_passages);

struct GteOptions {
  double temperature = 0.01;
  PositiveTerms positive_terms = PositiveTerms::twice;
  PositiveRivals positive_rivals = PositiveRivals::positives;
  Candidates candidates = Candidates::all_ranks;
  Duplicates duplicates = Duplicates::kept;
  ScorePrecision score_precision = ScorePrecision::f32;  // of all four sums; with own_group they are f32
  int64_t tile_elements = int64_t{1} << 20;              // scores held at once, of the four sums together; at least min(B, 64) rows
};
/// A temperature that is not positive; rounded scores with own_group.
std::optional<Refusal> refused(const GteOptions& options);

/// The same on tensors and ranks: local queries and positives against the gathered texts, whose gradients go back to their
/// owners.
class Gte final : public Loss {
 public:
  /// Throws Error (usage, "config") where its settings are refused.
  explicit Gte(const GteOptions& options);
  LossResult evaluate(Exec& ex, const Group& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb,
                      Tensor share) override;

 private:
  /// How many passages of every other query a positive is compared with.
  int64_t rivals_per_query(const Pairs& pairs) const { return options_.positive_rivals == PositiveRivals::all_passages ? pairs.group : 1; }
  LossCounts own_group(Exec& ex, const Pairs& pairs, const UnitTexts& texts, double row_weight, Tensor share) const;
  LossCounts in_batch(Exec& ex, const Group& group, const Pairs& pairs, const UnitTexts& texts, double row_weight, Tensor share) const;

  GteOptions options_;
};

}  // namespace lodestone
