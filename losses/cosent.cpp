#include "losses/cosent.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "comm/rows.h"
#include "losses/group_scores.h"
#include "losses/settings.h"

namespace lodestone {

void sort_by_gold(std::span<const double> gold, std::span<int64_t> order) {
  for (const double y : gold)
    if (!std::isfinite(y)) throw Error(ExitCode::data, "scores", cat("a gold score is ", y), "give every pair a finite score");
  std::iota(order.begin(), order.end(), int64_t{0});
  std::sort(order.begin(), order.end(), [&](int64_t i, int64_t j) {  // unlike stable_sort, it takes no memory
    const double a = gold[static_cast<size_t>(i)], b = gold[static_cast<size_t>(j)];
    return a != b ? a < b : i < j;
  });
}

std::optional<Refusal> refused(const CosentOptions& options) { return refused_temperature("temperature", options.temperature); }

Cosent::Cosent(const CosentOptions& options) : options_(options) { require_settings(refused(options)); }

LossResult Cosent::evaluate(Exec& ex, const Group& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb, Tensor share) {
  const int64_t mine = pairs.queries, n = pairs.global_queries;
  LODE_CHECK(pairs.group == 1, "cosent: a scored pair has one second text, this batch has groups of ", pairs.group);
  if (static_cast<int64_t>(pairs.scores.size()) != mine)
    throw Error(ExitCode::data, "scores",
                cat("cosent needs a gold score for each of ", mine, " pairs, the rows give ", pairs.scores.size()),
                "give every row of this source a score, or choose another loss");
  const auto scope = ex.arena.scope();
  const std::span<const double> gold = gather_in_arena(ex.arena, group.host, pairs.scores, pairs.rank_queries);
  const std::span<int64_t> order = ex.arena.array<int64_t>(n);
  sort_by_gold(gold, order);
  const GroupScores cosines(ex, emb, pairs, Similarity::cosine);
  const Tensor cosine = gather_rows(ex, group.device, cosines.scores(), pairs.rank_queries).reshape({n});
  const Tensor work = ex.arena.tensor(DType::f64, {3, n}), d_cosine = ex.arena.tensor(DType::f64, {mine});
  ex.backend.cosent(cosine, ex.backend.upload(view(gold), ex.arena), ex.backend.upload(view(std::span<const int64_t>(order)), ex.arena),
                    options_.temperature, weight, {pairs.first_query, pairs.first_query + mine}, work, d_cosine, share);
  cosines.backward(ex, d_cosine.reshape({mine, 1}), d_emb);
  return {};
}

}  // namespace lodestone
