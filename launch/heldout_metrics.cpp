#include "launch/heldout_metrics.h"

#include <algorithm>
#include <numeric>

#include "comm/rows.h"
#include "losses/metrics.h"

namespace lodestone {

namespace {

/// Sums over this rank's queries, and their count.
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

/// Cosines of query and first passage, and gold scores, of all ranks' scored pairs.
struct ScoredPairs {
  std::vector<double> cosines, gold;
};

ScoredPairs gather_scores(Exec& ex, const HeldOut& heldout, ConstTensor queries, ConstTensor passages, std::span<const int64_t> counts, Communicator& comm) {
  const int64_t mine = queries.dim(0), width = queries.dim(1);
  const auto scope = ex.arena.scope();
  const Tensor pairs = ex.arena.tensor(DType::f64, {mine, 2}), q = ex.arena.tensor(DType::f64, {width}), p = ex.arena.tensor(DType::f64, {width});
  const std::span<double> own = pairs.host<double>();
  size_t i = 0;
  for (const Batch& batch : heldout.batches()) {
    for (const double score : batch.scores) {
      const auto row = static_cast<int64_t>(i);
      ex.backend.cast(queries.rows(row, row + 1).reshape({width}), q);
      ex.backend.cast(passages.rows(row, row + 1).reshape({width}), p);
      own[2 * i] = std::inner_product(q.host<double>().begin(), q.host<double>().end(), p.host<double>().begin(), 0.0);
      own[2 * i++ + 1] = score;
    }
  }
  const Tensor all = gather_rows(ex, comm, pairs, counts);
  ScoredPairs result;
  for (int64_t k = 0; k < all.dim(0); ++k) {
    result.cosines.push_back(all.host<double>()[static_cast<size_t>(2 * k)]);
    result.gold.push_back(all.host<double>()[static_cast<size_t>(2 * k + 1)]);
  }
  return result;
}

}  // namespace

std::vector<Figure> evaluate_heldout(Exec ex, const HeldOut& heldout, EmbeddingObjective& objective, Loss& loss, Communicator& comm) {
  const auto scope = ex.arena.scope();
  const int64_t width = objective.embedding();
  const int64_t mine = std::accumulate(heldout.batches().begin(), heldout.batches().end(), int64_t{0},
                                       [](int64_t n, const Batch& b) { return n + b.queries; });
  const Tensor queries = ex.arena.tensor(ex.wide(), {mine, width}), passages = ex.arena.tensor(ex.wide(), {mine, width});
  const Tensor hashes = ex.arena.tensor(DType::f64, {mine, 1});   // 53 of 64 bits: equal texts stay equal
  Sums sums;
  int64_t done = 0;
  bool scored = false;
  for (const Batch& batch : heldout.batches()) {
    const auto batch_scope = ex.arena.scope();
    const int64_t b = batch.queries, g = batch.group;
    const Tensor emb = objective.embed(ex, batch.tokens());
    const Tensor unused = ex.arena.tensor(ex.wide(), emb.shape()), norm = ex.arena.tensor(ex.wide(), {1}), norms = ex.arena.tensor(ex.wide(), {b});
    sums.loss += loss.evaluate(ex, comm, emb, batch.pairs(), 1, unused) * static_cast<double>(batch.global_queries);
    ex.backend.l2_normalize_forward(emb.rows(0, b), queries.rows(done, done + b), norms);
    for (int64_t i = 0; i < b; ++i) {   // the positives: the first of each group
      ex.backend.l2_normalize_forward(emb.rows(b + i * g, b + i * g + 1), passages.rows(done + i, done + i + 1), norm);
      hashes.host<double>()[static_cast<size_t>(done + i)] = static_cast<double>(batch.passage_hash[static_cast<size_t>(i * g)] >> 11);
    }
    scored = scored || !batch.scores.empty();
    done += b;
  }
  std::vector<int64_t> counts(static_cast<size_t>(comm.size()), 0);
  counts[static_cast<size_t>(comm.rank())] = mine;
  all_reduce(comm, std::span(counts), Reduce::sum);
  double any_scored = scored ? 1 : 0;
  all_reduce(comm, std::span(&any_scored, 1), Reduce::max);
  sums.rows = static_cast<double>(mine);
  if (any_scored > 0) {
    const ScoredPairs pairs = gather_scores(ex, heldout, queries, passages, counts, comm);
    all_reduce(comm, std::span(&sums.loss, sizeof sums / sizeof(double)), Reduce::sum);
    return {{"loss", sums.loss / sums.rows}, {"spearman", spearman(pairs.cosines, pairs.gold)}};
  }
  const int64_t first_own = std::accumulate(counts.begin(), counts.begin() + comm.rank(), int64_t{0});
  const Tensor all = gather_rows(ex, comm, passages, counts);
  const Tensor all_hashes = gather_rows(ex, comm, hashes, counts);
  constexpr int64_t tile = 64;
  for (int64_t i = 0; i < mine; i += tile)
    add_ranks(ex, queries.rows(i, std::min(mine, i + tile)), all, first_own + i, all_hashes.host<double>(), sums);
  all_reduce(comm, std::span(&sums.loss, sizeof sums / sizeof(double)), Reduce::sum);
  return {{"loss", sums.loss / sums.rows}, {"mrr_at_10", sums.reciprocal / sums.rows}, {"recall_at_1", sums.first / sums.rows}};
}

}  // namespace lodestone
