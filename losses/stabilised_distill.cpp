#include "losses/stabilised_distill.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "comm/rows.h"
#include "losses/group_ce.h"
#include "losses/group_scores.h"
#include "losses/log_sum.h"

namespace lodestone {

namespace {

constexpr double none = -std::numeric_limits<double>::infinity();
constexpr int64_t least_tile_rows = 64;

void sort_by_reward(const StabilisedRow& row, std::span<int64_t> places) {
  std::iota(places.begin(), places.end(), int64_t{0});
  std::sort(places.begin() + (row.order == RewardOrder::released_code ? 1 : 0), places.end(), [&](int64_t i, int64_t j) {
    const double a = row.rewards[static_cast<size_t>(i)], b = row.rewards[static_cast<size_t>(j)];
    return a != b ? a > b : i < j;
  });
}

/// Moves the own cosines of every row of a tile to `own` [R,G] and leaves `cover` in their place, and back.
template <class T>
void take_own(Tensor tile, int64_t first_column, int64_t group, double cover, std::span<double> own) {
  const auto x = tile.host<T>();
  for (int64_t i = 0; i < tile.dim(0); ++i) {
    const auto row = x.subspan(static_cast<size_t>(i * tile.dim(1) + first_column + i * group), static_cast<size_t>(group));
    for (size_t g = 0; g < row.size(); ++g) {
      own[static_cast<size_t>(i * group) + g] = static_cast<double>(row[g]);
      row[g] = static_cast<T>(cover);
    }
  }
}
template <class T>
void put_own(std::span<const double> own, int64_t first_column, int64_t group, Tensor tile) {
  const auto x = tile.host<T>();
  for (int64_t i = 0; i < tile.dim(0); ++i)
    for (int64_t g = 0; g < group; ++g)
      x[static_cast<size_t>(i * tile.dim(1) + first_column + i * group + g)] = static_cast<T>(own[static_cast<size_t>(i * group + g)]);
}

double element(ConstTensor x, size_t i) { return x.dtype() == DType::f64 ? x.host<double>()[i] : static_cast<double>(x.host<float>()[i]); }
void set_element(Tensor x, size_t i, double value) {
  if (x.dtype() == DType::f64)
    x.host<double>()[i] = value;
  else
    x.host<float>()[i] = static_cast<float>(value);
}

}  // namespace

StabilisedRowLoss stabilised_row(const StabilisedRow& row, std::span<int64_t> places, std::span<double> d_logits,
                                 std::span<double> terms) {
  const size_t group = row.logits.size();
  const double sharpness = row.order == RewardOrder::released_code ? 1 : 1 / row.teacher_temperature;
  sort_by_reward(row, places);
  LogSum rewards;
  for (const double r : row.rewards) rewards.add(sharpness * r);
  // From the worst candidate up: the logarithm of each one's denominator, kept where its gradient will stand.
  LogSum denominator;
  denominator.add(row.others);
  for (size_t k = group; k-- > 0;) {
    const auto g = static_cast<size_t>(places[k]);
    denominator.add(row.logits[g]);
    d_logits[g] = denominator.value();
  }
  // From the best down: a candidate is pushed away by itself and by all that stand before it.
  LogSum push;  // log sum_{k<=g} w_k / denominator_k
  double loss = 0;
  for (size_t k = 0; k < group; ++k) {
    const auto g = static_cast<size_t>(places[k]);
    const double log_w = sharpness * row.rewards[g] - rewards.value(), w = std::exp(log_w);
    const double term = w * (d_logits[g] - row.logits[g]);
    loss += term;
    if (!terms.empty()) terms[k] += term;
    push.add(log_w - d_logits[g]);
    d_logits[g] = std::exp(row.logits[g] + push.value()) - w;
  }
  return {loss, -push.value()};
}

double stabilised_distillation(const StabilisedInput& in, std::span<double> d_logits, std::span<double> position_terms) {
  const auto group = static_cast<size_t>(in.group), n = in.rewards.size() / group, columns = n * group;
  LODE_CHECK(in.rewards.size() == columns && in.logits.size() == n * columns && d_logits.size() == in.logits.size() &&
                 position_terms.size() == group && in.teacher_temperature > 0,
             "stabilised distillation: ", in.logits.size(), " logits, ", in.rewards.size(), " rewards, groups of ", group);
  std::vector<int64_t> places(group);
  const double share = 1 / static_cast<double>(n);
  double loss = 0;
  std::fill(position_terms.begin(), position_terms.end(), 0.0);
  for (size_t i = 0; i < n; ++i) {
    const auto z = in.logits.subspan(i * columns, columns);
    const auto dz = d_logits.subspan(i * columns, columns);
    const size_t begin = i * group, end = begin + group;
    LogSum others;
    for (size_t j = 0; j < columns; ++j)
      if (j < begin || j >= end) others.add(z[j]);
    const StabilisedRow row{.logits = z.subspan(begin, group),
                            .rewards = in.rewards.subspan(begin, group),
                            .others = others.value(),
                            .teacher_temperature = in.teacher_temperature,
                            .order = in.order};
    const StabilisedRowLoss result = stabilised_row(row, places, dz.subspan(begin, group), position_terms);
    loss += result.loss;
    for (size_t j = 0; j < columns; ++j)
      if (j < begin || j >= end) dz[j] = std::exp(z[j] - result.others_normaliser);
  }
  for (double& d : d_logits) d *= share;
  for (double& term : position_terms) term *= share;
  return loss * share;
}

double StabilisedDistillation::evaluate(Exec& ex, Communicator& group, ConstTensor emb, const Pairs& pairs, double weight,
                                        Tensor d_emb) {
  const int64_t queries = pairs.queries, texts = queries * (1 + pairs.group);
  LODE_CHECK(emb.dim(0) == texts && d_emb.shape() == emb.shape(), "stabilised distillation: emb ", emb.shape(), ", d_emb ",
             d_emb.shape(), " for ", queries, " queries of group ", pairs.group);
  require_teacher(pairs.teacher_scores, queries * pairs.group, "stabilised distillation");
  const double row_weight = weight / static_cast<double>(pairs.global_queries);
  if (options_.candidates == Candidates::own_group || !pairs.in_batch_negatives)
    return row_weight * own_group(ex, emb, pairs, row_weight, d_emb);

  const auto scope = ex.arena.scope();
  const Tensor unit = ex.arena.tensor(emb.dtype(), emb.shape()), d_unit = ex.arena.tensor(emb.dtype(), emb.shape());
  const Tensor norms = ex.arena.tensor(emb.dtype(), {texts});
  ex.backend.l2_normalize_forward(emb, unit, norms);
  ex.backend.fill_zero(d_unit);
  const Tensor q = unit.rows(0, queries), p = unit.rows(queries, texts);
  const Tensor d_q = d_unit.rows(0, queries), d_p = d_unit.rows(queries, texts);
  double loss = 0;
  if (options_.candidates == Candidates::this_rank) {
    loss = shared_candidates(ex, q, p, 0, pairs, row_weight, d_q, d_p);
  } else {
    const std::span<int64_t> rows = ex.arena.array<int64_t>(group.size());
    std::transform(pairs.rank_queries.begin(), pairs.rank_queries.end(), rows.begin(),
                   [&](int64_t n) { return n * pairs.group; });
    const Tensor all = gather_rows(ex, group, p, rows);
    const Tensor d_all = ex.arena.tensor(emb.dtype(), all.shape());
    ex.backend.fill_zero(d_all);
    loss = shared_candidates(ex, q, all, pairs.first_query, pairs, row_weight, d_q, d_all);
    scatter_rows(ex, group, d_all, rows, d_p);
  }
  ex.backend.fill_zero(d_emb);
  ex.backend.l2_normalize_backward(d_unit, unit, norms, d_emb);
  return row_weight * loss;
}

double StabilisedDistillation::own_group(Exec& ex, ConstTensor emb, const Pairs& pairs, double row_weight, Tensor d_emb) const {
  const auto scope = ex.arena.scope();
  const GroupScores cosines(ex, emb, pairs, Similarity::cosine);
  const double scale = 1 / options_.temperature;
  const auto width = static_cast<size_t>(pairs.group);
  const std::span<int64_t> places = ex.arena.array<int64_t>(pairs.group);
  const std::span<double> logits = ex.arena.array<double>(pairs.group);
  const std::span<double> d_cosines = ex.arena.array<double>(pairs.queries * pairs.group);
  double loss = 0;
  for (size_t begin = 0; begin < d_cosines.size(); begin += width) {
    const auto d = d_cosines.subspan(begin, width);
    for (size_t g = 0; g < width; ++g) logits[g] = scale * cosines.scores()[begin + g];
    const StabilisedRow row{.logits = logits,
                            .rewards = pairs.teacher_scores.subspan(begin, width),
                            .others = none,
                            .teacher_temperature = options_.teacher_temperature,
                            .order = options_.order};
    loss += stabilised_row(row, places, d, {}).loss;
    for (double& v : d) v *= scale * row_weight;
  }
  cosines.backward(ex, d_cosines, d_emb);
  return loss;
}

double StabilisedDistillation::shared_candidates(Exec& ex, ConstTensor queries, ConstTensor candidates, int64_t first,
                                                 const Pairs& pairs, double row_weight, Tensor d_queries,
                                                 Tensor d_candidates) const {
  const int64_t rows = queries.dim(0), columns = candidates.dim(0), group = pairs.group;
  const int64_t tile_rows = std::min(rows, std::max(options_.tile_elements / std::max(columns, int64_t{1}), least_tile_rows));
  double loss = 0;
  for (int64_t begin = 0; begin < rows; begin += tile_rows) {
    const int64_t end = std::min(rows, begin + tile_rows);
    const auto scope = ex.arena.scope();
    const Tensor tile = ex.arena.tensor(queries.dtype(), {end - begin, columns});
    const ConstTensor q = queries.rows(begin, end);
    ex.backend.gemm(Op::none, q, Op::transpose, candidates, 1, 0, tile);
    const auto rewards = pairs.teacher_scores.subspan(static_cast<size_t>(begin * group), static_cast<size_t>((end - begin) * group));
    loss += distil_rows(ex, tile, (first + begin) * group, rewards, group, row_weight);
    ex.backend.gemm(Op::none, tile, Op::none, candidates, 1, 0, d_queries.rows(begin, end));
    ex.backend.gemm(Op::transpose, tile, Op::none, q, 1, 1, d_candidates);
  }
  return loss;
}

double StabilisedDistillation::distil_rows(Exec& ex, Tensor tile, int64_t first_column, std::span<const double> rewards, int64_t group,
                                           double row_weight) const {
  const auto scope = ex.arena.scope();
  const double scale = 1 / options_.temperature;
  const auto width = static_cast<size_t>(group);
  const std::span<double> own = ex.arena.array<double>(tile.dim(0) * group), d_own = ex.arena.array<double>(group);
  const std::span<int64_t> places = ex.arena.array<int64_t>(group);
  const Tensor others = ex.arena.tensor(tile.dtype(), {tile.dim(0)});
  // Own passages are taken out of the sum over others: 1e4 below the smallest logit, exp gives 0 in every dtype.
  const double cover = -2 - 1e4 / scale;
  const bool doubles = tile.dtype() == DType::f64;
  doubles ? take_own<double>(tile, first_column, group, cover, own) : take_own<float>(tile, first_column, group, cover, own);
  ex.backend.log_sum_exp_rows(tile, scale, others);
  double loss = 0;
  for (size_t i = 0; i < static_cast<size_t>(tile.dim(0)); ++i) {
    const auto cosines = own.subspan(i * width, width);
    for (double& c : cosines) c *= scale;
    const StabilisedRow row{.logits = cosines,
                            .rewards = rewards.subspan(i * width, width),
                            .others = tile.dim(1) == group ? none : element(others, i),
                            .teacher_temperature = options_.teacher_temperature,
                            .order = options_.order};
    const StabilisedRowLoss result = stabilised_row(row, places, d_own, {});
    loss += result.loss;
    set_element(others, i, result.others_normaliser);
    std::transform(d_own.begin(), d_own.end(), cosines.begin(), [&](double d) { return d * row_weight * scale; });
  }
  ex.backend.softmax_rows(tile, scale, others, row_weight * scale);
  doubles ? put_own<double>(own, first_column, group, tile) : put_own<float>(own, first_column, group, tile);
  return loss;
}

}  // namespace lodestone
