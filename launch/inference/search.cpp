#include "launch/inference/search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "comm/gather_values.h"
#include "data/plan/plan.h"
#include "launch/inference/scan.h"

namespace lodestone {

namespace {

constexpr int64_t query_tile = 256, document_tile = 4096;

/// The order of results: higher score, then lower precedence.
struct Better {
  std::span<const int64_t> precedence;
  int64_t place(int64_t document) const { return precedence.empty() ? document : precedence[static_cast<size_t>(document)]; }
  bool operator()(const Found& a, const Found& b) const {
    return a.score != b.score ? a.score > b.score : place(a.document) < place(b.document);
  }
};

std::span<const float> row(std::span<const float> rows, int64_t embedding, int64_t i) {
  return rows.subspan(static_cast<size_t>(i * embedding), static_cast<size_t>(embedding));
}

/// The largest norm of rows [.,E]. Throws Error (numerical, "F44") where one is not finite; `what` and `first` name it.
double largest_norm(std::span<const float> rows, int64_t embedding, const char* what, int64_t first) {
  double largest = 0;
  for (int64_t i = 0; i * embedding < std::ssize(rows); ++i) {
    const double norm = exact_norm(row(rows, embedding, i));
    if (!std::isfinite(norm))
      throw Error(ExitCode::numerical, "F44", cat("the vector of ", what, " ", first + i, " is not finite"),
                  "the model has diverged; take an earlier checkpoint");
    largest = std::max(largest, norm);
  }
  return largest;
}

/// Rows [.,E] where products read them, in the dtype in which they are scanned.
ConstTensor scanned_rows(Exec& ex, std::span<const float> rows, int64_t embedding, DType scanned) {
  const Shape shape{static_cast<int64_t>(rows.size()) / embedding, embedding};
  if (scanned == DType::f32) return ex.backend.upload(view(rows), ex.arena).reshape(shape);
  const Tensor rounded = ex.arena.tensor(scanned, shape);
  const auto scope = ex.arena.scope();
  ex.backend.cast(ex.backend.upload(view(rows), ex.arena).reshape(shape), rounded);
  return rounded;
}

/// Offers the scores of this rank's documents [.,E] for the queries [.,E] of a tile, of which the first is number `first_query`.
void scan_share(Exec& ex, const SearchInput& in, ConstTensor queries, int64_t first_query, ConstTensor documents, Scan& scan) {
  for (int64_t begin = 0; begin < documents.dim(0); begin += document_tile) {
    const auto scope = ex.arena.scope();
    const int64_t columns = std::min(document_tile, documents.dim(0) - begin);
    const Tensor scores = ex.arena.tensor(DType::f32, {queries.dim(0), columns});
    ex.backend.gemm(Op::none, queries, Op::transpose, documents.rows(begin, begin + columns), 1, 0, scores);
    const std::span<const float> values = fetch<float>(ex.backend, ex.arena, scores);
#pragma omp parallel for schedule(static) num_threads(ex.backend.threads())
    for (int64_t q = 0; q < queries.dim(0); ++q) {
      const int64_t left_out = in.left_out.empty() ? -1 : in.left_out[static_cast<size_t>(first_query + q)] - in.first_document;
      scan.offer(static_cast<size_t>(q), row(values, columns, q), begin, left_out);
    }
  }
}

/// The best of what was kept for query number `query`, by exact scores, best first.
std::vector<Found> rescored(const SearchInput& in, int64_t query, std::span<const Scan::Candidate> candidates, const Better& better) {
  std::vector<Found> found;
  found.reserve(candidates.size());
  for (const Scan::Candidate& c : candidates) {
    const double exact = exact_dot(row(in.queries, in.embedding, query), row(in.documents, in.embedding, c.document));
    found.push_back(
        {in.first_document + c.document, in.compared == Compared::as_f32 ? static_cast<double>(static_cast<float>(exact)) : exact});
  }
  const auto end = found.begin() + std::min<std::ptrdiff_t>(std::ssize(found), in.best);
  std::partial_sort(found.begin(), end, found.end(), better);
  found.erase(end, found.end());
  return found;
}

/// Lists of all ranks, one behind the other, and how long each is.
struct GatheredLists {
  std::vector<int32_t> counts;
  std::vector<Found> all;
};

GatheredLists gather_lists(Communicator& comm, std::span<const std::vector<Found>> own) {
  std::vector<int32_t> counts;
  std::vector<Found> flat;
  for (const std::vector<Found>& found : own) {
    counts.push_back(static_cast<int32_t>(found.size()));
    flat.insert(flat.end(), found.begin(), found.end());
  }
  return {gather_values(comm, std::span<const int32_t>(counts)), gather_values(comm, std::span<const Found>(flat))};
}

/// What all ranks found for a tile of queries, for those of `mine` among them: the best of all.
void merge(Communicator& comm, std::span<const std::vector<Found>> own, int64_t first_query, RankRows mine, int64_t best,
           const Better& better, std::vector<std::vector<Found>>& results) {
  const auto [all_counts, all] = gather_lists(comm, own);
  std::vector<std::vector<Found>> merged(own.size());
  size_t at = 0;
  for (size_t i = 0; i < all_counts.size(); ++i) {
    const size_t q = i % own.size(), count = static_cast<size_t>(all_counts[i]);
    if (const int64_t query = first_query + static_cast<int64_t>(q); query >= mine.begin && query < mine.end)
      merged[q].insert(merged[q].end(), all.begin() + static_cast<std::ptrdiff_t>(at),
                       all.begin() + static_cast<std::ptrdiff_t>(at + count));
    at += count;
  }
  for (size_t q = 0; q < merged.size(); ++q) {
    if (const int64_t query = first_query + static_cast<int64_t>(q); query < mine.begin || query >= mine.end) continue;
    std::sort(merged[q].begin(), merged[q].end(), better);
    merged[q].resize(std::min(merged[q].size(), static_cast<size_t>(best)));
    results.push_back(std::move(merged[q]));
  }
}

}  // namespace

std::vector<std::vector<Found>> search_own(Exec ex, Communicator& comm, const SearchInput& in) {
  const Better better{in.precedence};
  const int64_t count = static_cast<int64_t>(in.queries.size()) / in.embedding;
  const RankRows mine = rank_rows(count, comm.rank(), comm.size());
  const double longest_query = largest_norm(in.queries, in.embedding, "query", 0),
               longest_document = largest_norm(in.documents, in.embedding, "document", in.first_document);
  if (2 * longest_query * longest_document > std::numeric_limits<float>::max())
    throw Error(ExitCode::numerical, "F44",
                cat("vectors of norms ", longest_query, " and ", longest_document, " have no dot product in f32"),
                "the model has diverged; take an earlier checkpoint");
  const double error = score_error(in.scanned, in.embedding) * longest_document;
  const double underflow = static_cast<double>(in.embedding) * std::numeric_limits<float>::min();  // of each product, where it is flushed
  const auto whole = ex.arena.scope();
  const ConstTensor queries = scanned_rows(ex, in.queries, in.embedding, in.scanned),
                    documents = scanned_rows(ex, in.documents, in.embedding, in.scanned);
  std::vector<std::vector<Found>> results;
  for (int64_t begin = 0; begin < count; begin += query_tile) {
    const int64_t rows = std::min(query_tile, count - begin);
    std::vector<double> errors;
    for (int64_t q = begin; q < begin + rows; ++q) errors.push_back(error * exact_norm(row(in.queries, in.embedding, q)) + underflow);
    Scan scan(in.best, errors, [&](size_t q, std::vector<Scan::Candidate>& kept) {
      const std::vector<Found> found = rescored(in, begin + static_cast<int64_t>(q), kept, better);
      std::erase_if(kept, [&](const Scan::Candidate& c) {
        return std::ranges::find(found, in.first_document + c.document, &Found::document) == found.end();
      });
      return found.back().score;
    });
    scan_share(ex, in, queries.rows(begin, begin + rows), begin, documents, scan);
    std::vector<std::vector<Found>> own(static_cast<size_t>(rows));
#pragma omp parallel for schedule(dynamic, 8) num_threads(ex.backend.threads())
    for (int64_t q = 0; q < rows; ++q)
      own[static_cast<size_t>(q)] = rescored(in, begin + q, scan.candidates(static_cast<size_t>(q)), better);
    merge(comm, own, begin, mine, in.best, better, results);
  }
  return results;
}

std::vector<std::vector<Found>> search(Exec ex, Communicator& comm, const SearchInput& in) {
  const auto [all_counts, all] = gather_lists(comm, search_own(ex, comm, in));
  std::vector<std::vector<Found>> results;
  if (comm.rank() != 0) return results;
  auto next = all.begin();
  for (const int32_t found : all_counts) {
    results.emplace_back(next, next + found);
    next += found;
  }
  return results;
}

std::vector<int64_t> precedence_of(std::span<const std::string> document_ids) {
  std::vector<int64_t> order(document_ids.size()), precedence(document_ids.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::sort(order.begin(), order.end(),
            [&](int64_t a, int64_t b) { return document_ids[static_cast<size_t>(a)] > document_ids[static_cast<size_t>(b)]; });
  for (size_t place = 0; place < order.size(); ++place) precedence[static_cast<size_t>(order[place])] = static_cast<int64_t>(place);
  return precedence;
}

}  // namespace lodestone
