// Exact nearest documents of every query, when each rank holds a share of the documents.
#pragma once

#include <vector>

#include "comm/communicator.h"
#include "core/exec.h"

namespace lodestone {

/// A document found: its index in the whole corpus, and its dot product with the query.
struct Found {
  int64_t document = -1;
  float score = 0;
};

struct SearchInput {
  std::span<const float> queries;       // [Q,E] all queries, the same on every rank
  std::span<const float> documents;     // [M,E] this rank's share, contiguous
  int64_t embedding = 0;                // E
  int64_t first_document = 0;           // index of this rank's first document in the whole corpus
  std::span<const int64_t> precedence;  // [all documents] of equally scored documents the lower precedence comes first
  int64_t best = 10;                    // documents per query; fewer when the corpus is smaller
  std::span<const int64_t> left_out{};  // [Q] index of a document that is not among the query's, -1: none; empty: none for all
};

/// For each query its best documents, best first: on rank 0, nothing elsewhere. Every rank of comm calls it with its share.
/// The answer is that of one sorted list of all documents, whatever the number of ranks.
std::vector<std::vector<Found>> search(Exec ex, Communicator& comm, const SearchInput& in);

/// Precedence of equally scored documents as trec_eval orders them: the later id first.
std::vector<int64_t> precedence_of(std::span<const std::string> document_ids);

}  // namespace lodestone
