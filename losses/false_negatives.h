// False negatives: passages of a batch that answer a query although they stand with another one, found by their hashes.
#pragma once

#include "comm/group.h"
#include "core/batch.h"
#include "core/exec.h"
#include "losses/candidates.h"

namespace lodestone {

enum class Duplicates : uint8_t {
  kept,    // candidates as they come
  masked,  // false negatives are no candidates
};

/// Hashes of N queries and their N*G passages. Empty spans: unknown.
struct TextHashes {
  std::span<const uint64_t> query = {};     // [N]
  std::span<const uint64_t> passage = {};   // [N*G]
  std::span<const uint64_t> document = {};  // [N*G]
};

/// Hashes of N queries and their positives: what a passage needs to be known by to be a false negative of one of them.
struct QueryHashes {
  std::span<const uint64_t> query = {};              // [N]
  std::span<const uint64_t> positive = {};           // [N] of the positive's text
  std::span<const uint64_t> positive_document = {};  // [N]
};

/// The rule. A passage other than the query's positive is a false negative of the query if it
///   - has the text of its positive, or the query's own text; or
///   - stands with another query and belongs to its positive's document, or is the positive of a query with the same text.
/// A record's own negative from the document of its positive stays: the record says that it is one.
bool is_false_negative(const TextHashes& texts, int64_t group, int64_t query, int64_t passage);
/// The same where queries are candidates: another query that has the text of the query or of its positive.
bool is_false_negative_query(const TextHashes& texts, int64_t group, int64_t query, int64_t other);

/// This rank's hashes. Throws Error (internal) if they are not as many as the texts.
TextHashes local_hashes(const Pairs& pairs);
/// The hashes that go with `candidates`: this rank's, or those of all ranks, gathered into the arena (16 bytes a passage and 8 a
/// query).
TextHashes candidate_hashes(Exec& ex, const Group& group, Candidates candidates, const Pairs& pairs);
/// Those of all ranks' queries and positives alone, gathered into the arena: 24 bytes a query, however many negatives there are.
QueryHashes shared_hashes(Exec& ex, const Group& group, const Pairs& pairs);

/// Which elements of a matrix of scores are left out, row by row: made on the host once an evaluation, uploaded once.
struct ScoreMask {
  ConstTensor offsets = {};  // [n+1] i64
  ConstTensor columns = {};  // i32: those of row i are columns[offsets[i]] .. columns[offsets[i+1]-1]
  int64_t count = 0;         // how many
  /// Sets the scores of the rows [first, first + tile's rows) of the matrix to -infinity where they are left out.
  void apply(Exec& ex, int64_t first, Tensor tile) const {
    if (count > 0) ex.backend.mask_elements(offsets.slice({first, first + tile.dim(0) + 1}), columns, tile);
  }
};

/// Finds false negatives by hash: a few searches for each query, then work for those that exist only.
class FalseNegatives {
 public:
  /// Of N queries among their own N*G passages. Sorts the hashes; memory from ex.arena. All hashes must outlive the object.
  FalseNegatives(Exec& ex, const TextHashes& texts, int64_t group);
  /// Of N queries among the n*G passages of the n of them that begin at `first_query`.
  FalseNegatives(Exec& ex, const QueryHashes& queries, const TextHashes& texts, int64_t group, int64_t first_query);

  /// Whether a query's own passages are among those that are masked.
  enum class OwnGroup : uint8_t { included, left_out };

  /// Masks of rows that are the queries `rows` of the N, or their positives. Memory from ex.arena, until its scope ends.
  /// [rows,n*places]: queries, or positives in their place, against the passages at `places` of each group.
  ScoreMask passages(Exec& ex, Slice rows, Slice places, OwnGroup own = OwnGroup::included) const;
  /// [rows,N]: queries against queries.
  ScoreMask queries(Exec& ex, Slice rows) const;
  /// [rows,N]: positives against queries, of which those are masked whose false negative the positive is.
  ScoreMask queries_of_positives(Exec& ex, Slice rows) const;

 private:
  struct Index {
    std::span<const uint64_t> hashes;
    std::span<const int64_t> order;  // of the hashes, ascending
    std::span<const int64_t> find(uint64_t hash) const;
  };
  static Index sorted(Exec& ex, std::span<const uint64_t> hashes);

  QueryHashes hashes_;
  int64_t group_, first_query_;
  Index queries_, passages_, documents_;
};

/// The same for each of the queries against its own passages at `places` of the group only, [N,places], of which only the hashes are
/// needed.
ScoreMask mask_of_own_groups(Exec& ex, const TextHashes& texts, int64_t group, Slice places);

}  // namespace lodestone
