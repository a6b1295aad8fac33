// False negatives: passages of a batch that answer a query although they stand with another one, found by their hashes.
#pragma once

#include "comm/communicator.h"
#include "core/batch.h"
#include "core/exec.h"
#include "losses/candidates.h"

namespace lodestone {

/// Hashes of N queries and their N*G passages. Empty spans: unknown.
struct TextHashes {
  std::span<const uint64_t> query = {};     // [N]
  std::span<const uint64_t> passage = {};   // [N*G]
  std::span<const uint64_t> document = {};  // [N*G]
};

/// The rule. A passage other than the query's positive is a false negative of the query if it
///   - has the text of its positive, or the query's own text; or
///   - stands with another query and belongs to its positive's document, or is the positive of a query with the same text.
/// A record's own negative from the document of its positive stays: the record says that it is one.
bool is_false_negative(const TextHashes& texts, int64_t group, int64_t query, int64_t passage);

/// The hashes that go with `candidates`: this rank's, or those of all ranks, gathered into the arena (16 bytes a passage and 8 a
/// query).
TextHashes candidate_hashes(Exec& ex, Communicator& group, Candidates candidates, const Pairs& pairs);

/// Finds false negatives by hash: a few searches for each query, then work for those that exist only.
class FalseNegatives {
 public:
  /// Sorts the hashes; memory from ex.arena. `texts` must outlive the object.
  FalseNegatives(Exec& ex, const TextHashes& texts, int64_t group);

  /// Both set scores to -infinity and return how many. Row i of the tile is query or positive first + i.
  /// tile [n,N*G]: queries against passages.
  int64_t mask_passages(int64_t first, Tensor tile) const;
  /// tile [n,N]: positives against queries, of which those are masked whose false negative the positive is.
  int64_t mask_queries(int64_t first, Tensor tile) const;

 private:
  struct Index {
    std::span<const uint64_t> hashes;
    std::span<const int64_t> order;  // of the hashes, ascending
    std::span<const int64_t> find(uint64_t hash) const;
  };
  static Index sorted(Exec& ex, std::span<const uint64_t> hashes);

  TextHashes texts_;
  int64_t group_;
  Index queries_, passages_, documents_;
};

/// The same for queries against their own passages only, tile [n,G], of which only the hashes are needed.
int64_t mask_own_group(const TextHashes& texts, int64_t group, int64_t first, Tensor tile);

}  // namespace lodestone
