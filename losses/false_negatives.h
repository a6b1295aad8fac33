// False negatives: passages of a batch that answer a query although they stand with another one, found by their hashes.
#pragma once

#include "comm/communicator.h"
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
TextHashes candidate_hashes(Exec& ex, Communicator& group, Candidates candidates, const Pairs& pairs);
/// Those of all ranks' queries and positives alone, gathered into the arena: 24 bytes a query, however many negatives there are.
QueryHashes shared_hashes(Exec& ex, Communicator& group, const Pairs& pairs);

/// Bytes of the arena that masking takes: candidate_hashes() and their index, or shared_hashes() and that of this rank's passages.
size_t candidate_hash_bytes(const VectorBatch& batch, Candidates candidates);
size_t shared_hash_bytes(const VectorBatch& batch);

/// Finds false negatives by hash: a few searches for each query, then work for those that exist only.
class FalseNegatives {
 public:
  /// Of N queries among their own N*G passages. Sorts the hashes; memory from ex.arena. All hashes must outlive the object.
  FalseNegatives(Exec& ex, const TextHashes& texts, int64_t group);
  /// Of N queries among the n*G passages of the n of them that begin at `first_query`.
  FalseNegatives(Exec& ex, const QueryHashes& queries, const TextHashes& texts, int64_t group, int64_t first_query);

  /// All three set scores to -infinity and return how many; those that have it already are not counted. Row i of the tile is query
  /// or positive first + i of the N.
  /// tile [rows,n*places]: queries, or positives in their place, against the passages at `places` of each group.
  int64_t mask_passages(int64_t first, Slice places, Tensor tile) const;
  /// tile [rows,N]: queries against queries.
  int64_t mask_queries(int64_t first, Tensor tile) const;
  /// tile [rows,N]: positives against queries, of which those are masked whose false negative the positive is.
  int64_t mask_queries_of_positives(int64_t first, Tensor tile) const;

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

/// The same for queries against their own passages at `places` of the group only, tile [rows,places], of which only the hashes are
/// needed.
int64_t mask_own_group(const TextHashes& texts, int64_t group, int64_t first, Slice places, Tensor tile);

}  // namespace lodestone
