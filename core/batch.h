// TokenBatch, Pairs and Batch: what data hands to training. Ragged: no padding and no padding mask.
#pragma once

#include <span>
#include <vector>

#include "core/rng.h"
#include "core/tensor.h"

namespace lodestone {

/// B texts of S tokens in all: text b is ids[offsets[b] .. offsets[b+1]). A view; spans live as long as their owner.
struct TokenBatch {
  std::span<const int32_t> ids;       // [S] token ids with special tokens and prompt, truncated
  std::span<const int64_t> offsets;   // [B+1], offsets[0] == 0
  std::span<const uint64_t> keys;     // [B] text_key() of each text: names its dropout masks. Empty when dropout is off
  std::span<const int64_t> second{};  // [B] place in each text where token type 1 begins; empty: every token has type 0
  int64_t texts() const { return static_cast<int64_t>(offsets.size()) - 1; }
  int64_t tokens() const { return static_cast<int64_t>(ids.size()); }
  int64_t length(int64_t b) const { return offsets[static_cast<size_t>(b) + 1] - offsets[static_cast<size_t>(b)]; }
  /// How many tokens of text b have type 0: they come first.
  int64_t first_length(int64_t b) const { return second.empty() ? length(b) : second[static_cast<size_t>(b)]; }
};

/// How the texts of a batch belong together. Texts are ordered: the B queries, then the B*G passages query-major
/// (passage i*G is the positive of query i, i*G+1 .. i*G+G-1 its negatives). All counts are this rank's.
struct Pairs {
  int64_t queries = 0;                      // B: queries on this rank
  int64_t group = 1;                        // G: passages per query, the positive first
  int64_t first_query = 0;                  // global index of this rank's first query
  int64_t global_queries = 0;               // N over all ranks of the group
  std::span<const int64_t> rank_queries;    // [W] queries of every rank; their sum is global_queries
  std::span<const uint64_t> query_hash;     // [B]   text hashes, for masking duplicates
  std::span<const uint64_t> passage_hash;   // [B*G]
  std::span<const uint64_t> passage_document;   // [B*G] document ids (text hashes where the input names none)
  std::span<const double> scores;           // [B] gold scores of scored pairs; empty otherwise
  std::span<const double> teacher_scores;   // [B*G] teacher scores; empty otherwise
  bool in_batch_negatives = true;           // false: this batch's source says that other queries' passages are no negatives
};

/// One rank's share of one part of a step. Owns its memory; views are valid while it lives and is not moved from.
struct Batch {
  std::vector<int32_t> ids;
  std::vector<int64_t> offsets{0};
  std::vector<uint64_t> keys;
  std::vector<int64_t> second;              // as TokenBatch::second
  std::vector<uint64_t> query_hash, passage_hash, passage_document;
  std::vector<double> scores, teacher_scores;
  std::vector<int64_t> rank_queries;
  std::vector<int64_t> rows;                // [B] global row ids
  int64_t queries = 0, group = 1, first_query = 0, global_queries = 0;
  int source = 0;                           // which source the whole global batch comes from
  bool in_batch_negatives = true;

  TokenBatch tokens() const { return {ids, offsets, keys, second}; }
  Pairs pairs() const {
    return {queries,      group,        first_query,      global_queries, rank_queries,   query_hash,
            passage_hash, passage_document, scores, teacher_scores, in_batch_negatives};
  }
};

}  // namespace lodestone
