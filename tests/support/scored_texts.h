// Random vectors with gold and teacher scores, and what a loss makes of them on one process or over ranks.
#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "data/plan.h"
#include "losses/loss.h"

namespace lodestone::test {

/// One global batch, the same on every rank.
struct ScoredTexts {
  int64_t n, group, width;
  std::vector<double> queries, passages;        // [N,E], [N*G,E]
  std::vector<double> scores, teacher_scores;   // [N], [N*G], with many equal ones
};

inline ScoredTexts random_texts(int64_t n, int64_t group, int64_t width, uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  ScoredTexts texts{n, group, width, {}, {}, {}, {}};
  const auto draw = [&](int64_t count, double grid) {
    std::vector<double> x(static_cast<size_t>(count));
    for (double& v : x) v = grid > 0 ? grid * std::round(normal(random) / grid) : normal(random);
    return x;
  };
  texts.queries = draw(n * width, 0);
  texts.passages = draw(n * group * width, 0);
  texts.scores = draw(n, 0.5);
  texts.teacher_scores = draw(n * group, 0.25);
  return texts;
}

/// cosine [N*G] of every query with its own passages, or their dot products.
inline std::vector<double> own_scores(const ScoredTexts& t, bool normalised) {
  std::vector<double> out;
  const auto width = static_cast<size_t>(t.width);
  for (size_t j = 0; j < static_cast<size_t>(t.n * t.group); ++j) {
    const double* q = t.queries.data() + j / static_cast<size_t>(t.group) * width;
    const double* p = t.passages.data() + j * width;
    double qp = 0, qq = 0, pp = 0;
    for (size_t e = 0; e < width; ++e) {
      qp += q[e] * p[e];
      qq += q[e] * q[e];
      pp += p[e] * p[e];
    }
    out.push_back(normalised ? qp / std::sqrt(qq * pp) : qp);
  }
  return out;
}

/// One rank's share of a loss and its gradient, queries first.
struct RankAnswer {
  double loss = 0;
  std::vector<double> d_emb;
};

/// What a test may change about this rank's pairs before the loss sees them.
using EditPairs = void (*)(Pairs&);
inline void as_they_are(Pairs&) {}

/// Rows of `x` that belong to this rank: per_query numbers a query.
inline std::vector<double> rows_of_rank(const std::vector<double>& x, int64_t per_query, RankRows rows) {
  return {x.begin() + rows.begin * per_query, x.begin() + rows.end * per_query};
}
/// This rank's queries, then its passages.
inline std::vector<double> texts_of_rank(const ScoredTexts& t, const std::vector<double>& queries, const std::vector<double>& passages,
                                         RankRows rows) {
  std::vector<double> out = rows_of_rank(queries, t.width, rows);
  const std::vector<double> behind = rows_of_rank(passages, t.group * t.width, rows);
  out.insert(out.end(), behind.begin(), behind.end());
  return out;
}

/// Evaluates this rank's rows; the loss exchanges over `comm`. The gradient's memory is filled with other numbers before.
inline RankAnswer evaluate(Loss& loss, const ScoredTexts& t, Communicator& comm, DType dtype = DType::f64, double weight = 1,
                           EditPairs edit = as_they_are, const char* backend_kind = "reference") {
  const auto backend = make_backend({.kind = backend_kind});
  Arena arena(size_t{1} << 30);
  Exec ex{*backend, arena, Key{}, dtype};
  const RankRows rows = rank_rows(t.n, comm.rank(), comm.size());
  std::vector<int64_t> rank_queries;
  for (int r = 0; r < comm.size(); ++r) rank_queries.push_back(rank_rows(t.n, r, comm.size()).end - rank_rows(t.n, r, comm.size()).begin);
  const std::vector<double> scores = rows_of_rank(t.scores, 1, rows), teacher = rows_of_rank(t.teacher_scores, t.group, rows);
  Pairs pairs;
  pairs.queries = rows.end - rows.begin;
  pairs.group = t.group;
  pairs.first_query = rows.begin;
  pairs.global_queries = t.n;
  pairs.rank_queries = rank_queries;
  pairs.scores = scores;
  pairs.teacher_scores = teacher;
  edit(pairs);

  std::vector<double> emb = texts_of_rank(t, t.queries, t.passages, rows);
  RankAnswer answer{0, std::vector<double>(emb.size())};
  const Tensor x = arena.tensor(dtype, {pairs.queries * (1 + t.group), t.width}), dx = arena.tensor(dtype, x.shape());
  backend->cast(view(std::span(emb)).reshape(x.shape()), x);
  backend->copy(x, dx);
  answer.loss = loss.evaluate(ex, comm, x, pairs, weight, dx);
  backend->cast(dx, view(std::span(answer.d_emb)).reshape(x.shape()));
  return answer;
}

/// The whole batch on one process.
inline RankAnswer evaluate_alone(Loss& loss, const ScoredTexts& t, DType dtype = DType::f64, double weight = 1) {
  const auto self = make_self_comm();
  return evaluate(loss, t, *self, dtype, weight);
}

/// Largest absolute difference of the shares' sum and of the gradient from a one-process answer, over all ranks.
struct Deviation {
  double loss = 0, gradient = 0;
};

inline Deviation compare_over_ranks(const RankAnswer& mine, const RankAnswer& whole, const ScoredTexts& t, Communicator& world) {
  double total = mine.loss;
  all_reduce(world, std::span(&total, 1), Reduce::sum);
  Deviation worst{std::abs(total - whole.loss), 0};
  const auto cut = whole.d_emb.begin() + t.n * t.width;
  const std::vector<double> expected = texts_of_rank(t, {whole.d_emb.begin(), cut}, {cut, whole.d_emb.end()},
                                                     rank_rows(t.n, world.rank(), world.size()));
  for (size_t i = 0; i < expected.size(); ++i) worst.gradient = std::max(worst.gradient, std::abs(mine.d_emb[i] - expected[i]));
  all_reduce(world, std::span(&worst.gradient, 1), Reduce::max);
  return worst;
}

}  // namespace lodestone::test
