#include "losses/stabilised_distill.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <vector>

#include "losses/group_ce.h"
#include "losses/log_sum.h"
#include "losses/settings.h"

namespace lodestone {

namespace {

void sort_by_reward(const StabilisedRow& row, std::span<int64_t> places) {
  std::iota(places.begin(), places.end(), int64_t{0});
  std::sort(places.begin() + (row.order == RewardOrder::released_code ? 1 : 0), places.end(), [&](int64_t i, int64_t j) {
    const double a = row.rewards[static_cast<size_t>(i)], b = row.rewards[static_cast<size_t>(j)];
    return a != b ? a > b : i < j;
  });
}

/// Row i of a tile has its query's own passages in the columns [first + i * stride, first + i * stride + group).
struct OwnColumns {
  int64_t first, stride, group;
};

/// Calls visit(element of the tile, element of own) for the own columns of every row.
template <class T, class Own, class Visit>
void each_own(Tensor tile, const OwnColumns& columns, Own own, const Visit& visit) {
  const auto x = tile.host<T>();
  for (size_t k = 0; k < own.size(); ++k) {
    const auto i = static_cast<int64_t>(k) / columns.group, g = static_cast<int64_t>(k) % columns.group;
    visit(x[static_cast<size_t>(i * tile.dim(1) + columns.first + i * columns.stride + g)], own[k]);
  }
}

/// Moves the own cosines to `own` [R,G] and leaves -infinity in their place.
void take_own(Tensor tile, const OwnColumns& columns, std::span<double> own) {
  const auto take = [&]<class T>(T) {
    each_own<T>(tile, columns, own, [](T& x, double& kept) {
      kept = static_cast<double>(x);
      x = -std::numeric_limits<T>::infinity();
    });
  };
  tile.dtype() == DType::f64 ? take(double{}) : take(float{});
}
/// Writes `own` [R,G] into their place.
void put_own(std::span<const double> own, const OwnColumns& columns, Tensor tile) {
  const auto put = [&]<class T>(T) { each_own<T>(tile, columns, own, [](T& x, const double& value) { x = static_cast<T>(value); }); };
  tile.dtype() == DType::f64 ? put(double{}) : put(float{});
}

double element(ConstTensor x, size_t i) { return x.dtype() == DType::f64 ? x.host<double>()[i] : static_cast<double>(x.host<float>()[i]); }
void set_element(Tensor x, size_t i, double value) {
  if (x.dtype() == DType::f64)
    x.host<double>()[i] = value;
  else
    x.host<float>()[i] = static_cast<float>(value);
}

}  // namespace

StabilisedRowLoss stabilised_row(const StabilisedRow& row, std::span<int64_t> places, std::span<double> d_logits, std::span<double> terms) {
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

std::optional<Refusal> refused(const StabilisedOptions& options) {
  if (options.candidates == Candidates::own_group && options.duplicates == Duplicates::masked)
    return Refusal{"mask_false_negatives", "only passages of other queries are masked, and use_inbatch_neg: false leaves them out",
                   "leave one of the two out"};
  if (auto refusal = refused_temperature("temperature", options.temperature)) return refusal;
  return refused_temperature("teacher_temperature", options.teacher_temperature);
}

StabilisedDistillation::StabilisedDistillation(const StabilisedOptions& options) : options_(options) { require_settings(refused(options)); }

double StabilisedDistillation::evaluate(Exec& ex, Communicator& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb) {
  require_teacher(pairs.teacher_scores, pairs.queries * pairs.group, "stabilised distillation");
  const auto scope = ex.arena.scope();
  const UnitTexts texts(ex, "stabilised distillation", emb, pairs);
  const Candidates candidates = candidates_of(pairs, options_.candidates);
  const double row_weight = weight / static_cast<double>(pairs.global_queries);
  counts_ = {};
  double loss = 0;
  if (candidates == Candidates::own_group) {
    const ScoreBlock block{texts.queries, texts.passages, texts.d_queries, texts.d_passages, pairs.group};
    loss = distil(ex, block, 0, nullptr, pairs, row_weight);
  } else {
    const SharedRows passages(ex, group, candidates, pairs, pairs.group, texts.passages, texts.d_passages);
    const ScoreBlock block{texts.queries, passages.rows, texts.d_queries, passages.d_rows};
    TextHashes hashes;
    std::optional<FalseNegatives> duplicates;
    if (options_.duplicates == Duplicates::masked) {
      hashes = candidate_hashes(ex, group, candidates, pairs);
      duplicates.emplace(ex, hashes, pairs.group);
    }
    loss = distil(ex, block, passages.first_query, duplicates ? &*duplicates : nullptr, pairs, row_weight);
    passages.finish(ex, group);
  }
  texts.finish(ex, d_emb);
  return row_weight * loss;
}

LossMemory StabilisedDistillation::memory(const VectorBatch& batch) const {
  const Pairs& pairs = batch.pairs;
  const Candidates candidates = candidates_of(pairs, options_.candidates);
  const bool own = candidates == Candidates::own_group;
  const int64_t width = own ? pairs.group : candidate_queries(pairs, candidates) * pairs.group;
  const int64_t rows = tile_rows(pairs.queries, width, options_.tile_elements);
  LossMemory m = UnitTexts::memory(batch) + SharedRows::memory(batch, candidates, pairs.group);
  m.others +=
      Arena::taken_bytes(batch.dtype, {rows, width}) + batch.words(rows * pairs.group) + 2 * batch.words(pairs.group) + batch.numbers(rows);
  if (options_.duplicates == Duplicates::masked) m.others += candidate_hash_bytes(batch, candidates);
  return m;
}

double StabilisedDistillation::distil(Exec& ex, const ScoreBlock& block, int64_t first_query, const FalseNegatives* duplicates,
                                      const Pairs& pairs, double row_weight) {
  const int64_t rows = block.rows.dim(0), group = pairs.group, step = tile_rows(rows, block.width(), options_.tile_elements);
  double loss = 0;
  for (int64_t begin = 0; begin < rows; begin += step) {
    const int64_t n = std::min(step, rows - begin);
    const OwnColumns columns = block.group > 0 ? OwnColumns{0, 0, group} : OwnColumns{(first_query + begin) * group, group, group};
    const auto scope = ex.arena.scope();
    const Tensor tile = ex.arena.tensor(block.rows.dtype(), {n, block.width()});
    const std::span<double> own = ex.arena.array<double>(n * group);
    score(ex, block, begin, tile);
    take_own(tile, columns, own);
    if (duplicates != nullptr) counts_.masked_candidates += duplicates->mask_passages(first_query + begin, {0, group}, tile);
    const auto rewards = pairs.teacher_scores.subspan(static_cast<size_t>(begin * group), own.size());
    loss += distil_rows(ex, rewards, group, row_weight, tile, own);
    put_own(own, columns, tile);
    score_backward(ex, block, begin, tile);
  }
  return loss;
}

double StabilisedDistillation::distil_rows(Exec& ex, std::span<const double> rewards, int64_t group, double row_weight, Tensor tile,
                                           std::span<double> own) const {
  const auto scope = ex.arena.scope();
  const double scale = 1 / options_.temperature;
  const auto width = static_cast<size_t>(group);
  const std::span<double> d_logits = ex.arena.array<double>(group);
  const std::span<int64_t> places = ex.arena.array<int64_t>(group);
  const Tensor others = ex.arena.tensor(tile.dtype(), {tile.dim(0)});
  ex.backend.log_sum_exp_rows(tile, scale, others);
  double loss = 0;
  for (size_t i = 0; i < own.size() / width; ++i) {
    const auto logits = own.subspan(i * width, width);
    for (double& z : logits) z *= scale;
    const StabilisedRow row{.logits = logits,
                            .rewards = rewards.subspan(i * width, width),
                            .others = element(others, i),
                            .teacher_temperature = options_.teacher_temperature,
                            .order = options_.order};
    const StabilisedRowLoss result = stabilised_row(row, places, d_logits, {});
    loss += result.loss;
    set_element(others, i, result.others_normaliser);
    std::transform(d_logits.begin(), d_logits.end(), logits.begin(), [&](double d) { return d * row_weight * scale; });
  }
  ex.backend.softmax_rows(tile, scale, others, row_weight * scale);
  return loss;
}

}  // namespace lodestone
