// Candidates: which texts of a global batch a text is compared with, and how they travel between ranks.
#pragma once

#include "comm/group.h"
#include "core/batch.h"
#include "core/exec.h"

namespace lodestone {

/// Sentence vectors, or their gradient, until the innermost scope ends.
inline Tensor take_vectors(Exec& ex, DType dtype, Shape shape) {
  const auto vectors = ex.arena.taking_for(Use::vectors);
  return ex.arena.tensor(dtype, shape);
}

/// Which passages are candidates of a query. Where a batch's source says that other queries' passages are no negatives
/// (Pairs::in_batch_negatives), it is own_group whatever the settings say.
enum class Candidates : uint8_t {
  own_group,  // its own G passages
  this_rank,  // the passages of all queries on this rank
  all_ranks,  // the passages of all queries of the global batch, ordered by global index
};

inline Candidates candidates_of(const Pairs& pairs, Candidates wanted) { return pairs.in_batch_negatives ? wanted : Candidates::own_group; }

/// How many queries' texts a query of this rank meets: its own alone count as this rank's.
inline int64_t candidate_queries(const Pairs& pairs, Candidates candidates) {
  return candidates == Candidates::all_ranks ? pairs.global_queries : pairs.queries;
}

/// A batch's sentence vectors scaled to unit length, with their gradient, cut into queries and passages. Lives in the arena scope
/// in which it was made.
class UnitTexts {
 public:
  /// emb [B+B*G,E]. Throws Error (internal) naming `loss` if the shape does not fit `pairs`.
  UnitTexts(Exec& ex, const char* loss, ConstTensor emb, const Pairs& pairs);
  /// d_emb [B+B*G,E] = the gradient with respect to the vectors as they came.
  void finish(Exec& ex, Tensor d_emb) const;

  Tensor queries, passages;      // [B,E], [B*G,E]
  Tensor d_queries, d_passages;  // zero at first

 private:
  Tensor unit_, d_unit_, norms_;
};

/// Some passages of every query, one query's behind another's: copies where they do not lie so already.
class PassagesPerQuery {
 public:
  /// Passages [first, first + count) of each group of G in `passages` [n*G,E], whose gradient is d_passages. d_rows is zero at
  /// first.
  PassagesPerQuery(Exec& ex, Tensor passages, Tensor d_passages, int64_t group, int64_t first, int64_t count);
  /// d_passages += the gradient that was added to d_rows; copies in `rows` are overwritten.
  void finish(Exec& ex) const;

  Tensor rows, d_rows;  // [n*count,E]

 private:
  Tensor d_passages_;
  ConstTensor places_;  // [n*count] i64 of the rows among the passages; empty: they lie so already, or are none
};
inline PassagesPerQuery positives_of(Exec& ex, Tensor passages, Tensor d_passages, int64_t group) {
  return {ex, passages, d_passages, group, 0, 1};
}

/// Rows that every rank's rows are compared with, and the gradient that goes back to the ranks that own them.
class SharedRows {
 public:
  /// The rows of all ranks for all_ranks, this rank's alone otherwise. local [B*per_query,E].
  SharedRows(Exec& ex, const Group& group, Candidates candidates, const Pairs& pairs, int64_t per_query, Tensor local, Tensor d_local);
  /// d_local += the gradient, summed over ranks; the gathered rows are overwritten. Every rank calls it, once.
  void finish(Exec& ex, const Group& group) const;

  Tensor rows, d_rows;      // [N*per_query,E]; d_rows is zero at first
  int64_t first_query = 0;  // which query of these this rank's first is

 private:
  Tensor d_local_;
  std::span<const int64_t> counts_;  // empty: nothing travels
};

}  // namespace lodestone
