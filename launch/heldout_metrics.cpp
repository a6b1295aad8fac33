#include "launch/heldout_metrics.h"

#include <algorithm>
#include <numeric>

#include "comm/rows.h"

namespace lodestone {

namespace {

/// Sums over this rank's queries of a batch group, and their count.
struct Sums {
  double loss = 0, reciprocal = 0, first = 0, rows = 0;
};

/// Rank of each query's own passage among all of them: 1 + how many others score higher. Passages of equal text are one.
///   q [B,E] and p [N,E] of unit rows; own [B] index of the query's passage; hash [N].
void add_ranks(Exec& ex, ConstTensor q, ConstTensor p, int64_t first_own, std::span<const double> hash, Sums& sums) {
  const auto scope = ex.arena.scope();
  const int64_t n = p.dim(0);
  const Tensor scores = ex.arena.tensor(ex.wide(), {q.dim(0), n}), wide = ex.arena.tensor(DType::f64, {n});
  ex.backend.gemm(Op::none, q, Op::transpose, p, 1, 0, scores);
  for (int64_t i = 0; i < q.dim(0); ++i) {
    ex.backend.cast(scores.rows(i, i + 1).reshape({n}), wide);
    const std::span<const double> s = wide.host<double>();
    const auto own = static_cast<size_t>(first_own + i);
    int64_t rank = 1;
    for (size_t j = 0; j < s.size(); ++j) rank += s[j] > s[own] && hash[j] != hash[own];
    sums.reciprocal += rank <= 10 ? 1.0 / static_cast<double>(rank) : 0;
    sums.first += rank == 1;
  }
}

}  // namespace

HeldoutResult evaluate_heldout(Exec ex, const HeldOut& heldout, EmbeddingObjective& objective, Loss& loss, Communicator& comm) {
  const auto scope = ex.arena.scope();
  const int64_t width = objective.embedding();
  const int64_t mine = std::accumulate(heldout.batches().begin(), heldout.batches().end(), int64_t{0},
                                       [](int64_t n, const Batch& b) { return n + b.queries; });
  const Tensor queries = ex.arena.tensor(ex.wide(), {mine, width}), passages = ex.arena.tensor(ex.wide(), {mine, width});
  const Tensor hashes = ex.arena.tensor(DType::f64, {mine, 1});   // 53 of 64 bits: equal texts stay equal
  Sums sums;
  int64_t done = 0;
  for (const Batch& batch : heldout.batches()) {
    const auto batch_scope = ex.arena.scope();
    const int64_t b = batch.queries;
    const Tensor emb = objective.embed(ex, batch.tokens());
    const Tensor unused = ex.arena.tensor(ex.wide(), emb.shape()), norms = ex.arena.tensor(ex.wide(), {b});
    sums.loss += loss.evaluate(ex, comm, emb, batch.pairs(), 1, unused) * static_cast<double>(batch.global_queries);
    ex.backend.l2_normalize_forward(emb.rows(0, b), queries.rows(done, done + b), norms);
    ex.backend.l2_normalize_forward(emb.rows(b, 2 * b), passages.rows(done, done + b), norms);
    for (int64_t i = 0; i < b; ++i)
      hashes.host<double>()[static_cast<size_t>(done + i)] = static_cast<double>(batch.passage_hash[static_cast<size_t>(i)] >> 11);
    done += b;
  }
  std::vector<int64_t> counts(static_cast<size_t>(comm.size()), 0);
  counts[static_cast<size_t>(comm.rank())] = mine;
  all_reduce(comm, std::span(counts), Reduce::sum);
  const int64_t first_own = std::accumulate(counts.begin(), counts.begin() + comm.rank(), int64_t{0});
  const Tensor all = gather_rows(ex, comm, passages, counts);
  const Tensor all_hashes = gather_rows(ex, comm, hashes, counts);
  constexpr int64_t tile = 64;
  for (int64_t i = 0; i < mine; i += tile)
    add_ranks(ex, queries.rows(i, std::min(mine, i + tile)), all, first_own + i, all_hashes.host<double>(), sums);
  sums.rows = static_cast<double>(mine);
  all_reduce(comm, std::span(&sums.loss, sizeof sums / sizeof(double)), Reduce::sum);
  return {sums.loss / sums.rows, sums.reciprocal / sums.rows, sums.first / sums.rows};
}

}  // namespace lodestone
