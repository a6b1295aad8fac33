#include "launch/networks/heldout_metrics.h"

#include <algorithm>
#include <numeric>

#include "comm/gather_values.h"
#include "comm/rows.h"
#include "core/hash_words.h"
#include "losses/metrics.h"

namespace lodestone {

namespace {

/// Sums over this rank's queries, and their counts.
struct Sums {
  double loss = 0, rows = 0;
  double reciprocal = 0, first = 0, searched = 0;  // of rows without gold scores
};

/// Rank of each query's own passage among all of them: 1 + how many others score higher. Passages of equal text are one.
///   q [B,E] and p [N,E] of unit rows; own [B] index of the query's passage; hash [N].
void add_ranks(Exec& ex, ConstTensor q, ConstTensor p, int64_t first_own, std::span<const uint64_t> hash, Sums& sums) {
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
    ++sums.searched;
  }
}

/// Appends cosine of query and first passage, and gold score, of each row of a batch.
///   emb: un-normalised, queries then passages.
void add_scored(Exec& ex, const Batch& batch, ConstTensor emb, std::vector<double>& scored) {
  const auto scope = ex.arena.scope();
  const int64_t width = emb.dim(1);
  const Tensor unit = ex.arena.tensor(ex.wide(), {1, width}), norm = ex.arena.tensor(ex.wide(), {1}),
               q = ex.arena.tensor(DType::f64, {width}), p = ex.arena.tensor(DType::f64, {width});
  const auto unit_row = [&](int64_t row, const Tensor& to) {
    ex.backend.l2_normalize_forward(emb.rows(row, row + 1), unit, norm);
    ex.backend.cast(unit.reshape({width}), to);
  };
  for (int64_t i = 0; i < batch.queries; ++i) {
    unit_row(i, q);
    unit_row(batch.queries + i * batch.group, p);
    scored.push_back(std::inner_product(q.host<double>().begin(), q.host<double>().end(), p.host<double>().begin(), 0.0));
    scored.push_back(batch.scores[static_cast<size_t>(i)]);
  }
}

/// Spearman correlation of all ranks' pairs of numbers. counts [W]: pairs of each rank.
double correlation(Exec& ex, std::span<const double> own, std::span<const int64_t> counts, Communicator& comm) {
  const auto scope = ex.arena.scope();
  const Tensor pairs = ex.arena.tensor(DType::f64, {std::ssize(own) / 2, 2});
  std::copy(own.begin(), own.end(), pairs.host<double>().begin());
  const Tensor all = gather_rows(ex, comm, pairs, counts);
  std::vector<double> cosines, gold;
  for (int64_t k = 0; k < all.dim(0); ++k) {
    cosines.push_back(all.host<double>()[static_cast<size_t>(2 * k)]);
    gold.push_back(all.host<double>()[static_cast<size_t>(2 * k + 1)]);
  }
  return spearman(cosines, gold);
}

}  // namespace

std::vector<Figure> evaluate_heldout(Exec ex, const HeldOut& heldout, EmbeddingObjective& objective, Loss& loss, Communicator& comm) {
  const auto scope = ex.arena.scope();
  const int64_t width = objective.embedding();
  const int64_t mine = std::accumulate(heldout.batches().begin(), heldout.batches().end(), int64_t{0},
                                       [](int64_t n, const Batch& b) { return n + (b.scores.empty() ? b.queries : 0); });
  const Tensor queries = ex.arena.tensor(ex.wide(), {mine, width}),
               passages = ex.arena.tensor(ex.wide(), {mine, width});  // of rows without gold scores
  const Tensor hashes = ex.arena.tensor(DType::i64, {mine, 1});       // of the passages' texts
  Sums sums;
  std::vector<double> scored;  // cosine and gold score of each row that has one
  int64_t done = 0;
  for (const Batch& batch : heldout.batches()) {
    const auto batch_scope = ex.arena.scope();
    const int64_t b = batch.queries, g = batch.group;
    const Tensor emb = objective.embed(ex, batch.tokens());
    const Tensor unused = ex.arena.tensor(ex.wide(), emb.shape()), norm = ex.arena.tensor(ex.wide(), {1}),
                 norms = ex.arena.tensor(ex.wide(), {b});
    sums.loss += loss.evaluate(ex, comm, emb, batch.pairs(), 1, unused) * static_cast<double>(batch.global_queries);
    sums.rows += static_cast<double>(b);
    if (!batch.scores.empty()) {
      add_scored(ex, batch, emb, scored);
      continue;
    }
    ex.backend.l2_normalize_forward(emb.rows(0, b), queries.rows(done, done + b), norms);
    for (int64_t i = 0; i < b; ++i) {  // the positives: the first of each group
      ex.backend.l2_normalize_forward(emb.rows(b + i * g, b + i * g + 1), passages.rows(done + i, done + i + 1), norm);
      hashes_in(hashes)[static_cast<size_t>(done + i)] = batch.passage_hash[static_cast<size_t>(i * g)];
    }
    done += b;
  }
  const std::vector<int64_t> searched = gather_value(comm, mine), pairs = gather_value<int64_t>(comm, std::ssize(scored) / 2);
  if (std::accumulate(searched.begin(), searched.end(), int64_t{0}) > 0) {
    const int64_t first_own = std::accumulate(searched.begin(), searched.begin() + comm.rank(), int64_t{0});
    const Tensor all = gather_rows(ex, comm, passages, searched);
    const Tensor all_hashes = gather_rows(ex, comm, hashes, searched);
    constexpr int64_t tile = 64;
    for (int64_t i = 0; i < mine; i += tile)
      add_ranks(ex, queries.rows(i, std::min(mine, i + tile)), all, first_own + i, hashes_in(all_hashes), sums);
  }
  all_reduce(comm, std::span(&sums.loss, sizeof sums / sizeof(double)), Reduce::sum);
  std::vector<Figure> figures{{"loss", sums.loss / sums.rows}};
  if (sums.searched > 0) {
    figures.push_back({"mrr_at_10", sums.reciprocal / sums.searched});
    figures.push_back({"recall_at_1", sums.first / sums.searched});
  }
  if (std::accumulate(pairs.begin(), pairs.end(), int64_t{0}) > 0) figures.push_back({"spearman", correlation(ex, scored, pairs, comm)});
  return figures;
}

}  // namespace lodestone
