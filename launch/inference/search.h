// Exact nearest documents of every query, when each rank holds a share of the documents.
#pragma once

#include <vector>

#include "comm/communicator.h"
#include "core/exec.h"

namespace lodestone {

/// A document found: its index in the whole corpus, and its dot product with the query, as SearchInput::compared says.
struct Found {
  int64_t document = -1;
  double score = 0;
};

/// As what dot products, which are added up in f64, are compared.
enum class Compared : uint8_t {
  as_f32,  // as trec_eval reads them
  as_f64,
};

struct SearchInput {
  std::span<const float> queries;       // [Q,E] all queries, the same on every rank
  std::span<const float> documents;     // [M,E] this rank's share, contiguous
  int64_t embedding = 0;                // E
  int64_t first_document = 0;           // index of this rank's first document in the whole corpus
  std::span<const int64_t> precedence;  // [all documents] of equally scored documents the lower precedence comes first; empty: the index
  int64_t best = 10;                    // documents per query; fewer when the corpus is smaller
  std::span<const int64_t> left_out{};  // [Q] index of a document that is not among the query's, -1: none; empty: none for all
  Compared compared = Compared::as_f32;
  DType scanned = DType::f32;  // in which documents are looked through: f32, or bf16 where products of it are fast; changes no result
};

/// For each query of this rank's share of them (rank_rows of Q) its best documents, best first. Every rank of comm calls it with its share
/// of the documents. The answer is that of one list of all documents, sorted by dot products in f64, whatever the number of ranks, the
/// backend and `scanned`: products in that dtype only say which documents may be among the best (launch/inference/scan.h). Throws Error
/// (numerical, "F44") on a vector that is not finite.
std::vector<std::vector<Found>> search_own(Exec ex, Communicator& comm, const SearchInput& in);
/// The same for all queries on rank 0, and nothing elsewhere.
std::vector<std::vector<Found>> search(Exec ex, Communicator& comm, const SearchInput& in);

/// Precedence of equally scored documents as trec_eval orders them: the later id first.
std::vector<int64_t> precedence_of(std::span<const std::string> document_ids);

}  // namespace lodestone
