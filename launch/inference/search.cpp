#include "launch/inference/search.h"

#include <algorithm>
#include <numeric>

#include "comm/rows.h"

namespace lodestone {

namespace {

constexpr int64_t query_tile = 256, document_tile = 4096;

/// The order of results: higher score, then lower precedence.
struct Better {
  std::span<const int64_t> precedence;
  bool operator()(const Found& a, const Found& b) const {
    if (a.score != b.score) return a.score > b.score;
    return precedence[static_cast<size_t>(a.document)] < precedence[static_cast<size_t>(b.document)];
  }
};

/// Keeps the `best` of all that is offered, the worst of them on top of the heap.
void offer(std::vector<Found>& heap, size_t best, const Found& found, const Better& better) {
  if (heap.size() == best) {
    if (!better(found, heap.front())) return;
    std::pop_heap(heap.begin(), heap.end(), better);
    heap.pop_back();
  }
  heap.push_back(found);
  std::push_heap(heap.begin(), heap.end(), better);
}

/// Rows [.,E] where operations can read them.
ConstTensor uploaded_rows(Exec& ex, std::span<const float> rows, int64_t embedding) {
  return ex.backend.upload(view(rows), ex.arena).reshape({static_cast<int64_t>(rows.size()) / embedding, embedding});
}

/// The best of this rank's documents [.,E] for each query [.,E] of a tile, unordered; left_out as in SearchInput, of the tile.
void search_share(Exec& ex, const SearchInput& in, ConstTensor queries, std::span<const int64_t> left_out, ConstTensor documents,
                  const Better& better, std::vector<std::vector<Found>>& heaps) {
  for (int64_t begin = 0; begin < documents.dim(0); begin += document_tile) {
    const auto scope = ex.arena.scope();
    const int64_t columns = std::min(document_tile, documents.dim(0) - begin);
    const Tensor scores = ex.arena.tensor(DType::f32, {queries.dim(0), columns});
    ex.backend.gemm(Op::none, queries, Op::transpose, documents.rows(begin, begin + columns), 1, 0, scores);
    const std::span<const float> values = fetch<float>(ex.backend, ex.arena, scores);
#pragma omp parallel for schedule(static) num_threads(ex.backend.threads())
    for (int64_t q = 0; q < queries.dim(0); ++q) {
      const int64_t skipped = left_out.empty() ? -1 : left_out[static_cast<size_t>(q)];
      for (int64_t c = 0; c < columns; ++c) {
        const int64_t document = in.first_document + begin + c;
        if (document == skipped) continue;
        offer(heaps[static_cast<size_t>(q)], static_cast<size_t>(in.best), {document, values[static_cast<size_t>(q * columns + c)]},
              better);
      }
    }
  }
}

/// What all ranks found for a tile of queries: [W,Q,best], document -1 where a rank has fewer.
struct Gathered {
  std::span<const int64_t> documents;
  std::span<const float> scores;
};

Gathered gather(Exec& ex, Communicator& comm, int64_t best, std::span<const std::vector<Found>> heaps) {
  const auto count = static_cast<int64_t>(heaps.size()) * best;
  const std::span<int64_t> documents = ex.arena.array<int64_t>(count), counts = ex.arena.array<int64_t>(comm.size());
  const std::span<float> scores = ex.arena.array<float>(count);
  std::ranges::fill(documents, int64_t{-1});
  std::ranges::fill(scores, 0.0f);
  for (size_t q = 0; q < heaps.size(); ++q)
    for (size_t j = 0; j < heaps[q].size(); ++j) {
      documents[q * static_cast<size_t>(best) + j] = heaps[q][j].document;
      scores[q * static_cast<size_t>(best) + j] = heaps[q][j].score;
    }
  std::ranges::fill(counts, count);
  return {gather_in_arena<int64_t>(ex.arena, comm, documents, counts), gather_in_arena<float>(ex.arena, comm, scores, counts)};
}

}  // namespace

std::vector<std::vector<Found>> search(Exec ex, Communicator& comm, const SearchInput& in) {
  const Better better{in.precedence};
  const auto whole = ex.arena.scope();
  const ConstTensor queries = uploaded_rows(ex, in.queries, in.embedding), documents = uploaded_rows(ex, in.documents, in.embedding);
  std::vector<std::vector<Found>> results;
  for (int64_t begin = 0; begin < queries.dim(0); begin += query_tile) {
    const auto scope = ex.arena.scope();
    const int64_t rows = std::min(query_tile, queries.dim(0) - begin);
    std::vector<std::vector<Found>> heaps(static_cast<size_t>(rows));
    const std::span<const int64_t> left_out =
        in.left_out.empty() ? in.left_out : in.left_out.subspan(static_cast<size_t>(begin), static_cast<size_t>(rows));
    search_share(ex, in, queries.rows(begin, begin + rows), left_out, documents, better, heaps);
    const Gathered all = gather(ex, comm, in.best, heaps);
    if (comm.rank() != 0) continue;
    for (int64_t q = 0; q < rows; ++q) {
      std::vector<Found> merged;
      for (int64_t r = 0; r < comm.size(); ++r)
        for (int64_t j = 0; j < in.best; ++j) {
          const auto at = static_cast<size_t>((r * rows + q) * in.best + j);
          if (all.documents[at] >= 0) merged.push_back({all.documents[at], all.scores[at]});
        }
      std::sort(merged.begin(), merged.end(), better);
      merged.resize(std::min(merged.size(), static_cast<size_t>(in.best)));
      results.push_back(std::move(merged));
    }
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
