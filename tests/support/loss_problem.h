// A global batch of random sentence vectors with all that a loss may read, and a loss's answer to it over any split on ranks.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "comm/planes.h"
#include "losses/loss.h"
#include "tests/support/any_backend.h"
#include "tests/support/arena_peak.h"

namespace lodestone::test {

/// The same on every rank. All texts differ and have hashes of their own; change what a test is about.
struct LossProblem {
  LossProblem(int64_t n, int64_t group, int64_t width, uint32_t seed = 1) : n(n), group(group), width(width) {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal;
    queries.resize(static_cast<size_t>(n * width));
    passages.resize(static_cast<size_t>(n * group * width));
    for (double& v : queries) v = normal(random);
    for (double& v : passages) v = normal(random);
    query_hash.resize(static_cast<size_t>(n));
    passage_hash.resize(static_cast<size_t>(n * group));
    std::iota(query_hash.begin(), query_hash.end(), uint64_t{1});
    std::iota(passage_hash.begin(), passage_hash.end(), uint64_t{1} << 63);
    passage_document = passage_hash;
    const auto coarse = [&](int64_t count) {
      std::vector<double> x(static_cast<size_t>(count));
      for (double& v : x) v = std::round(4 * normal(random)) / 4;
      return x;
    };
    scores = coarse(n);
    teacher_scores = coarse(n * group);
  }
  /// Hashes from a few values: duplicates of every kind.
  void plant_duplicates(uint32_t seed = 3) {
    std::mt19937 random(seed);
    for (auto* hashes : {&query_hash, &passage_hash, &passage_document})
      for (uint64_t& hash : *hashes) hash = random() % (hashes->size() + 2);
  }

  int64_t n, group, width;
  std::vector<double> queries, passages;
  std::vector<uint64_t> query_hash, passage_hash, passage_document;
  std::vector<double> scores, teacher_scores;  // [N], [N*G] with many equal ones
  bool in_batch_negatives = true;
};

/// Of the whole batch: shares and counts added up, gradients in global order.
struct LossAnswer {
  double loss = 0;
  int64_t masked = 0;
  std::vector<double> d_queries, d_passages;
  size_t taken_bytes = 0;  // of this rank's arena
};

/// How N rows may lie on W ranks: cut evenly, all on the last rank, and every other rank empty.
inline std::vector<std::vector<int64_t>> row_splits(int64_t n, int world) {
  const auto ranks = static_cast<size_t>(world);
  std::vector<int64_t> even(ranks), last(ranks), odd(ranks);
  for (size_t r = 0; r < ranks; ++r) even[r] = (n * static_cast<int64_t>(r + 1)) / world - (n * static_cast<int64_t>(r)) / world;
  last.back() = n;
  for (size_t r = 0; r < ranks; r += 2) odd[r] = even[r] + (r + 1 < ranks ? even[r + 1] : 0);
  return {even, last, odd};
}

/// What `rank` has of the problem when `rank_queries` [W] rows lie on each rank. A view of both.
inline Pairs rank_pairs(const LossProblem& problem, const std::vector<int64_t>& rank_queries, int rank) {
  Pairs pairs;
  pairs.queries = rank_queries[static_cast<size_t>(rank)];
  pairs.group = problem.group;
  pairs.first_query = std::accumulate(rank_queries.begin(), rank_queries.begin() + rank, int64_t{0});
  pairs.global_queries = problem.n;
  pairs.rank_queries = rank_queries;
  pairs.in_batch_negatives = problem.in_batch_negatives;
  const auto local = [&]<class T>(const std::vector<T>& all, int64_t per_query) -> std::span<const T> {
    if (all.empty()) return {};
    return std::span(all).subspan(static_cast<size_t>(pairs.first_query * per_query), static_cast<size_t>(pairs.queries * per_query));
  };
  pairs.query_hash = local(problem.query_hash, 1);
  pairs.passage_hash = local(problem.passage_hash, problem.group);
  pairs.passage_document = local(problem.passage_document, problem.group);
  pairs.scores = local(problem.scores, 1);
  pairs.teacher_scores = local(problem.teacher_scores, problem.group);
  return pairs;
}

/// `rank_queries` [W] rows lie on each rank of `world`; the loss exchanges over `exchange`. Vectors are of `dtype`.
inline LossAnswer answer(Loss& loss, const LossProblem& problem, const std::vector<int64_t>& rank_queries, Communicator& world,
                         Communicator& exchange, DType dtype = DType::f64, const char* backend_kind = "reference", double weight = 1) {
  const auto backend = any_backend(backend_kind);
  const Planes planes(exchange, *backend);
  Arena arena(backend->memory(), size_t{1} << 30);
  Exec ex{*backend, arena, Key{}, dtype};
  const Pairs pairs = rank_pairs(problem, rank_queries, world.rank());
  const int64_t width = problem.width, q = pairs.queries, p = q * problem.group;
  std::vector<double> emb, d_emb(static_cast<size_t>((q + p) * width), 7.0);  // evaluate() sets, it does not add
  const auto append_local = [&](const std::vector<double>& all, int64_t per_query) {
    const auto begin = all.begin() + pairs.first_query * per_query;
    emb.insert(emb.end(), begin, begin + q * per_query);
  };
  append_local(problem.queries, width);
  append_local(problem.passages, problem.group * width);
  const auto scope = arena.scope();
  const Tensor x = arena.tensor(dtype, {q + p, width}), dx = arena.tensor(dtype, {q + p, width});
  from_double(*backend, arena, emb, x);
  from_double(*backend, arena, d_emb, dx);
  const Tensor share = zero_total(ex);
  LossAnswer a;
  a.taken_bytes =
      peak_of(ex, [&](Exec e) { a.masked = loss.evaluate(e, planes.group(), x, pairs, weight, dx, share).counts.masked_candidates; });
  a.loss = fetch<double>(*backend, arena, share)[0];
  d_emb = to_double(*backend, arena, dx);
  a.d_queries.resize(problem.queries.size());
  a.d_passages.resize(problem.passages.size());
  std::copy_n(d_emb.begin(), q * width, a.d_queries.begin() + pairs.first_query * width);
  std::copy_n(d_emb.begin() + q * width, p * width, a.d_passages.begin() + pairs.first_query * problem.group * width);
  all_reduce(world, std::span(&a.loss, 1), Reduce::sum);
  all_reduce(world, std::span(&a.masked, 1), Reduce::sum);
  all_reduce(world, std::span(a.d_queries), Reduce::sum);
  all_reduce(world, std::span(a.d_passages), Reduce::sum);
  return a;
}

/// One process holds everything.
inline LossAnswer answer_alone(Loss& loss, const LossProblem& problem, DType dtype = DType::f64, const char* backend_kind = "reference",
                               double weight = 1) {
  const auto self = make_self_comm();
  return answer(loss, problem, {problem.n}, *self, *self, dtype, backend_kind, weight);
}

/// Largest difference of an element of the gradient.
inline double gradient_difference(const LossAnswer& a, const LossAnswer& b) {
  double worst = 0;
  const auto compare = [&](const std::vector<double>& x, const std::vector<double>& y) {
    for (size_t i = 0; i < x.size(); ++i) worst = std::isnan(x[i]) ? HUGE_VAL : std::max(worst, std::abs(x[i] - y[i]));
  };
  compare(a.d_queries, b.d_queries);
  compare(a.d_passages, b.d_passages);
  return worst;
}

}  // namespace lodestone::test
