#include "launch/networks/heldout_metrics.h"

#include <algorithm>
#include <numeric>

#include "comm/gather_values.h"
#include "comm/rows.h"
#include "losses/group_scores.h"
#include "losses/metrics.h"

namespace lodestone {

namespace {

/// Sums over this rank's queries, and their counts.
struct Sums {
  double loss = 0, judged = 0;                     // of rows that the loss means something on
  double reciprocal = 0, first = 0, searched = 0;  // of rows without gold scores
};

/// Rank of each query's own passage among all of them: 1 + how many others score higher. Passages of equal text are one.
///   scores [B,N]; the own passage of query i is first_own + i; hash [N].
template <class T>
void add_ranks(std::span<const T> scores, int64_t first_own, std::span<const uint64_t> hash, Sums& sums) {
  const size_t n = hash.size();
  for (size_t i = 0; i * n < scores.size(); ++i) {
    const std::span<const T> s = scores.subspan(i * n, n);
    const auto own = static_cast<size_t>(first_own) + i;
    int64_t rank = 1;
    for (size_t j = 0; j < n; ++j) rank += s[j] > s[own] && hash[j] != hash[own];
    sums.reciprocal += rank <= 10 ? 1.0 / static_cast<double>(rank) : 0;
    sums.first += rank == 1;
    ++sums.searched;
  }
}

/// Queries q [B,E] against passages p [N,E] by their dot products, a tile of queries at a time.
void search_passages(Exec& ex, ConstTensor q, ConstTensor p, int64_t first_own, std::span<const uint64_t> hash, Sums& sums) {
  constexpr int64_t tile = 64;
  for (int64_t begin = 0; begin < q.dim(0); begin += tile) {
    const auto scope = ex.arena.scope();
    const int64_t end = std::min(q.dim(0), begin + tile);
    const Tensor scores = ex.arena.tensor(ex.wide(), {end - begin, p.dim(0)});
    ex.backend.gemm(Op::none, q.rows(begin, end), Op::transpose, p, 1, 0, scores);
    if (ex.wide() == DType::f64)
      add_ranks(fetch<double>(ex.backend, ex.arena, scores), first_own + begin, hash, sums);
    else
      add_ranks(fetch<float>(ex.backend, ex.arena, scores), first_own + begin, hash, sums);
  }
}

/// This rank's share of a batch's mean loss.
double loss_of(Exec& ex, const Batch& batch, ConstTensor emb, Loss& loss, const Group& ranks) {
  const auto scope = ex.arena.scope();
  const Tensor unused = ex.arena.tensor(ex.wide(), emb.shape()), share = zero_total(ex);
  loss.evaluate(ex, ranks, emb, batch.pairs(), 1, unused, share);
  return fetch<double>(ex.backend, ex.arena, share)[0];
}

/// Appends similarity of query and first passage, and gold score, of each row of a batch.
///   emb: un-normalised, queries then passages.
void add_scored(Exec& ex, const Batch& batch, ConstTensor emb, Similarity similarity, std::vector<double>& scored) {
  const auto scope = ex.arena.scope();
  const GroupScores scores(ex, emb, batch.pairs(), similarity);
  const std::span<const double> found = fetch<double>(ex.backend, ex.arena, scores.scores());
  for (size_t i = 0; i < static_cast<size_t>(batch.queries); ++i) {
    scored.push_back(found[i * static_cast<size_t>(batch.group)]);
    scored.push_back(batch.scores[i]);
  }
}

/// Vectors of a batch's queries and positives [B,E] whose dot products are their similarity.
void add_searched(Exec& ex, const Batch& batch, ConstTensor emb, Similarity similarity, Tensor queries, Tensor positives) {
  const auto scope = ex.arena.scope();
  const auto select = [&](int64_t first, int64_t stride, Tensor to) {
    const std::span<int64_t> places = ex.arena.array<int64_t>(batch.queries);
    for (size_t i = 0; i < places.size(); ++i) places[i] = first + static_cast<int64_t>(i) * stride;
    const ConstTensor uploaded = ex.backend.upload(view(std::span<const int64_t>(places)), ex.arena);
    if (similarity == Similarity::dot) return ex.backend.select_rows(emb, uploaded, to);
    const Tensor norms = ex.arena.tensor(ex.wide(), {batch.queries}), chosen = ex.arena.tensor(ex.wide(), to.shape());
    ex.backend.select_rows(emb, uploaded, chosen);
    ex.backend.l2_normalize_forward(chosen, to, norms);
  };
  select(0, 1, queries);
  select(batch.queries, batch.group, positives);  // the first of each group
}

/// Spearman correlation of all ranks' pairs of numbers. counts [W]: pairs of each rank.
double correlation(std::span<const double> own, std::vector<int64_t> counts, Communicator& comm) {
  for (int64_t& count : counts) count *= 2;
  const std::vector<double> all = gather_values(comm, own, counts);
  std::vector<double> near, gold;
  for (size_t k = 0; k < all.size(); k += 2) {
    near.push_back(all[k]);
    gold.push_back(all[k + 1]);
  }
  return spearman(near, gold);
}

int64_t sum(std::span<const int64_t> counts) { return std::accumulate(counts.begin(), counts.end(), int64_t{0}); }

}  // namespace

std::vector<Figure> evaluate_heldout(Exec ex, const HeldOut& heldout, EmbeddingObjective& objective, Loss& loss, Similarity similarity,
                                     const Group& ranks) {
  const auto scope = ex.arena.scope();
  const int64_t width = objective.embedding();
  const int64_t mine = std::accumulate(heldout.batches().begin(), heldout.batches().end(), int64_t{0},
                                       [](int64_t n, const Batch& b) { return n + (b.scores.empty() ? b.queries : 0); });
  const Tensor queries = ex.arena.tensor(ex.wide(), {mine, width}),
               passages = ex.arena.tensor(ex.wide(), {mine, width});  // of rows without gold scores
  std::vector<uint64_t> hashes;                                       // of the passages' texts
  Sums sums;
  std::vector<double> scored;  // similarity and gold score of each row that has one
  for (size_t number = 0; number < heldout.batches().size(); ++number) {
    const Batch& batch = heldout.batches()[number];
    const auto batch_scope = ex.arena.scope();
    const Tensor emb = objective.embed(ex, batch.tokens());
    if (heldout.judged_by_loss(number)) {
      sums.loss += loss_of(ex, batch, emb, loss, ranks) * static_cast<double>(batch.global_queries);
      sums.judged += static_cast<double>(batch.queries);
    }
    if (!batch.scores.empty()) {
      add_scored(ex, batch, emb, similarity, scored);
      continue;
    }
    const auto done = std::ssize(hashes), end = done + batch.queries;
    add_searched(ex, batch, emb, similarity, queries.rows(done, end), passages.rows(done, end));
    for (int64_t i = 0; i < batch.queries; ++i) hashes.push_back(batch.passage_hash[static_cast<size_t>(i * batch.group)]);
  }
  const std::vector<int64_t> searched = gather_value(ranks.host, mine), pairs = gather_value<int64_t>(ranks.host, std::ssize(scored) / 2);
  if (sum(searched) > 0) {
    const int64_t first_own = sum(std::span(searched).first(static_cast<size_t>(ranks.rank())));
    const Tensor all = gather_rows(ex, ranks.device, passages, searched);
    const std::vector<uint64_t> all_hashes = gather_values(ranks.host, std::span<const uint64_t>(hashes), searched);
    search_passages(ex, queries, all, first_own, all_hashes, sums);
  }
  all_reduce(ranks.host, std::span(&sums.loss, sizeof sums / sizeof(double)), Reduce::sum);
  std::vector<Figure> figures;
  if (sums.judged > 0) figures.push_back({"loss", sums.loss / sums.judged});
  if (sums.searched > 0) {
    figures.push_back({"mrr_at_10", sums.reciprocal / sums.searched});
    figures.push_back({"recall_at_1", sums.first / sums.searched});
  }
  if (sum(pairs) > 0) figures.push_back({"spearman", correlation(scored, pairs, ranks.host)});
  return figures;
}

}  // namespace lodestone
