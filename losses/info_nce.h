// InfoNCE: softmax cross-entropy of each query's positive among candidate passages, one direction (query to passage).
#pragma once

#include "losses/loss.h"

namespace lodestone {

/// Which passages are candidates of a query.
enum class Candidates : uint8_t {
  own_group,  // its own G passages
  this_rank,  // the passages of all queries on this rank
  all_ranks,  // the passages of all queries of the global batch, ordered by global index
};

/// The specification, on plain arrays and one process. With s = cosine over the first d components, and j over candidates:
///   loss = 1/N sum_i ( log sum_j exp(s(q_i, p_j) / temperature) - s(q_i, p_{i G}) / temperature )
struct InfoNceInput {
  std::span<const double> queries = {};   // [N,E]
  std::span<const double> passages = {};  // [N*G,E], query-major, the positive first
  int64_t embedding = 0;                  // E
  int64_t dimensions = 0;                 // d <= E
  int64_t group = 1;                      // G
  double temperature = 0.05;
  Candidates candidates = Candidates::all_ranks;
};

/// Returns the loss; d_queries [N,E] and d_passages [N*G,E] are set to its gradient with respect to the raw vectors.
double info_nce(const InfoNceInput& in, std::span<double> d_queries, std::span<double> d_passages);

struct InfoNceOptions {
  double temperature = 0.05;
  Candidates candidates = Candidates::all_ranks;
  /// Logits held at once. A tile has at least min(B, 64) rows, so its memory grows with N as the embeddings' does.
  int64_t tile_elements = int64_t{1} << 20;
};

/// The same on tensors and ranks. Local queries meet all candidates in tiles of query rows; the gradient of every candidate
/// goes back to the rank that owns it, summed over ranks, so it is exact. Ranks may hold different numbers of queries.
class InfoNce final : public Loss {
 public:
  explicit InfoNce(const InfoNceOptions& options) : options_(options) {}
  double evaluate(Exec& ex, Communicator& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb) override;

 private:
  /// Unit queries [B,E] against unit candidates [M,E]; the positive of query i is column (first + i) * G.
  double shared_candidates(Exec& ex, ConstTensor queries, ConstTensor candidates, int64_t first, int64_t group, double row_weight,
                           Tensor d_queries, Tensor d_candidates) const;
  /// Unit queries [B,E] against their own unit passages [B*G,E].
  double own_group(Exec& ex, ConstTensor queries, ConstTensor passages, int64_t group, double row_weight, Tensor d_queries,
                   Tensor d_passages) const;
  InfoNceOptions options_;
};

}  // namespace lodestone
