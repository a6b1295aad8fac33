#include "losses/cosent.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "comm/rows.h"
#include "core/log_sum.h"
#include "losses/group_loss.h"
#include "losses/group_scores.h"
#include "losses/settings.h"

namespace lodestone {

namespace {

/// Sorts the pairs by rising gold score, equal ones by index. std::sort, unlike stable_sort, takes no memory.
void sort_by_gold(std::span<const double> gold, std::span<int64_t> order) {
  for (const double y : gold)
    if (!std::isfinite(y)) throw Error(ExitCode::data, "scores", cat("a gold score is ", y), "give every pair a finite score");
  std::iota(order.begin(), order.end(), int64_t{0});
  std::sort(order.begin(), order.end(), [&](int64_t i, int64_t j) {
    const double a = gold[static_cast<size_t>(i)], b = gold[static_cast<size_t>(j)];
    return a != b ? a < b : i < j;
  });
}

/// out[i] = log sum over the pairs that stand before i in `order` with another gold score of exp(slope cosine).
template <class Iterator>
void log_sums_before(const CosentInput& in, double slope, Iterator begin, Iterator end, std::span<double> out) {
  LogSum sum;
  const auto at = [](auto it) { return static_cast<size_t>(*it); };
  while (begin != end) {
    const double before = sum.value(), gold = in.gold[at(begin)];
    const Iterator next = std::find_if(begin, end, [&](int64_t i) { return in.gold[static_cast<size_t>(i)] != gold; });
    for (Iterator it = begin; it != next; ++it) out[at(it)] = before;
    for (Iterator it = begin; it != next; ++it) sum.add(slope * in.cosines[at(it)]);
    begin = next;
  }
}

}  // namespace

double cosent(const CosentInput& in, const CosentScratch& scratch, std::span<double> d_cosines) {
  const size_t n = in.cosines.size();
  LODE_CHECK(in.gold.size() == n && scratch.order.size() == n && scratch.below.size() == n && scratch.above.size() == n &&
                 d_cosines.size() == n && in.temperature > 0,
             "cosent: ", n, " cosines, ", in.gold.size(), " gold scores, temperature ", in.temperature);
  const double scale = 1 / in.temperature;
  sort_by_gold(in.gold, scratch.order);
  log_sums_before(in, scale, scratch.order.begin(), scratch.order.end(), scratch.below);
  log_sums_before(in, -scale, scratch.order.rbegin(), scratch.order.rend(), scratch.above);

  LogSum total;
  total.add(0);
  for (const int64_t i : scratch.order) total.add(scratch.below[static_cast<size_t>(i)] - scale * in.cosines[static_cast<size_t>(i)]);
  const double loss = total.value();
  for (size_t i = 0; i < n; ++i) {
    const double x = scale * in.cosines[i];
    d_cosines[i] = scale * (std::exp(scratch.above[i] + x - loss) - std::exp(scratch.below[i] - x - loss));
  }
  return loss;
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
  const GroupScores cosines(ex, emb, pairs, Similarity::cosine);
  const std::span<const double> own = fetch<double>(ex.backend, ex.arena, cosines.scores());
  const std::span<const double> cosine = gather_in_arena(ex.arena, group.host, own, pairs.rank_queries);
  const std::span<const double> gold = gather_in_arena(ex.arena, group.host, pairs.scores, pairs.rank_queries);
  const std::span<double> d_cosine = ex.arena.array<double>(n);
  const CosentScratch scratch{ex.arena.array<int64_t>(n), ex.arena.array<double>(n), ex.arena.array<double>(n)};
  const double loss = cosent({.cosines = cosine, .gold = gold, .temperature = options_.temperature}, scratch, d_cosine);
  const std::span<double> d_mine = d_cosine.subspan(static_cast<size_t>(pairs.first_query), static_cast<size_t>(mine));
  for (double& d : d_mine) d *= weight;
  cosines.backward(ex, upload_scores(ex, d_mine, {mine, 1}), d_emb);
  if (n > 0) ex.backend.add_to_band(share, {}, weight * loss * static_cast<double>(mine) / static_cast<double>(n));
  return {};
}

}  // namespace lodestone
