#include "losses/stabilised_distill.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <vector>

#include "core/log_sum.h"
#include "losses/group_loss.h"
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

/// log w of a query's candidates, as they stand in the group.   w = softmax(reward / teacher_temperature)
void log_weights_of(const StabilisedRow& row, std::span<double> log_weights) {
  const double sharpness = row.order == RewardOrder::released_code ? 1 : 1 / row.teacher_temperature;
  LogSum rewards;
  for (const double r : row.rewards) rewards.add(sharpness * r);
  for (size_t g = 0; g < log_weights.size(); ++g) log_weights[g] = sharpness * row.rewards[g] - rewards.value();
}

}  // namespace

CascadeLoss stabilised_row(const StabilisedRow& row, std::span<int64_t> places, std::span<double> log_weights, std::span<double> d_logits,
                           std::span<double> terms) {
  sort_by_reward(row, places);
  log_weights_of(row, log_weights);
  return group_cascade({.logits = row.logits, .order = places, .log_weights = log_weights, .others = row.others}, d_logits, terms);
}

double stabilised_distillation(const StabilisedInput& in, std::span<double> d_logits, std::span<double> position_terms) {
  const auto group = static_cast<size_t>(in.group), n = in.rewards.size() / group, columns = n * group;
  LODE_CHECK(in.rewards.size() == columns && in.logits.size() == n * columns && d_logits.size() == in.logits.size() &&
                 position_terms.size() == group && in.teacher_temperature > 0,
             "stabilised distillation: ", in.logits.size(), " logits, ", in.rewards.size(), " rewards, groups of ", group);
  std::vector<int64_t> places(group);
  std::vector<double> log_weights(group);
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
    const CascadeLoss result = stabilised_row(row, places, log_weights, dz.subspan(begin, group), position_terms);
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
  if (auto refusal = refused_score_precision(options.score_precision, options.candidates == Candidates::own_group)) return refusal;
  if (auto refusal = refused_temperature("temperature", options.temperature)) return refusal;
  return refused_temperature("teacher_temperature", options.teacher_temperature);
}

StabilisedDistillation::StabilisedDistillation(const StabilisedOptions& options) : options_(options) { require_settings(refused(options)); }

/// What the tiles of one evaluation share.
struct StabilisedDistillation::Problem {
  ScoreBlock block;  // the own group's columns (block.group > 0), or those of all candidates
  Band own;          // the own columns of row 0, and how they go on
  ScoreMask mask;
  ConstTensor order, log_weights;  // [B,G] i64 and f64: see Backend::group_cascade
  double row_weight = 0;
  Tensor total;  // of the rows' losses, unweighted
};

LossResult StabilisedDistillation::evaluate(Exec& ex, const Group& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb,
                                            Tensor share) {
  require_teacher(pairs.teacher_scores, pairs.queries * pairs.group, "stabilised distillation");
  const auto scope = ex.arena.scope();
  const UnitTexts texts(ex, "stabilised distillation", emb, pairs);
  const Candidates candidates = candidates_of(pairs, options_.candidates);
  const Shape shape{pairs.queries, pairs.group};
  const std::span<int64_t> order = ex.arena.array<int64_t>(shape.count());
  const std::span<double> log_weights = ex.arena.array<double>(shape.count());
  const auto width = static_cast<size_t>(pairs.group);
  for (size_t begin = 0; begin < order.size(); begin += width) {
    const StabilisedRow row{.logits = {},
                            .rewards = pairs.teacher_scores.subspan(begin, width),
                            .others = 0,
                            .teacher_temperature = options_.teacher_temperature,
                            .order = options_.order};
    sort_by_reward(row, order.subspan(begin, width));
    log_weights_of(row, log_weights.subspan(begin, width));
  }
  Problem problem{.block = {},
                  .own = {0, 0, pairs.group},
                  .mask = {},
                  .order = ex.backend.upload(view(std::span<const int64_t>(order)), ex.arena).reshape(shape),
                  .log_weights = upload_scores(ex, log_weights, shape),
                  .row_weight = weight / static_cast<double>(pairs.global_queries),
                  .total = zero_total(ex)};
  if (candidates == Candidates::own_group) {
    problem.block = {texts.queries, texts.passages, texts.d_queries, texts.d_passages, pairs.group};
    distil(ex, problem);
  } else {
    const SharedRows passages(ex, group, candidates, pairs, pairs.group, texts.passages, texts.d_passages);
    problem.block = {score_operand(ex, options_.score_precision, texts.queries), score_operand(ex, options_.score_precision, passages.rows),
                     texts.d_queries, passages.d_rows};
    problem.own = {passages.first_query * pairs.group, pairs.group, pairs.group};
    if (options_.duplicates == Duplicates::masked) {
      const FalseNegatives duplicates(ex, candidate_hashes(ex, group, candidates, pairs), pairs.group);
      problem.mask = duplicates.passages(ex, {passages.first_query, passages.first_query + pairs.queries}, {0, pairs.group},
                                         FalseNegatives::OwnGroup::left_out);
    }
    distil(ex, problem);
    passages.finish(ex, group);
  }
  ex.backend.axpy(problem.row_weight, problem.total, share);
  texts.finish(ex, d_emb);
  return {{problem.mask.count}};
}

void StabilisedDistillation::distil(Exec& ex, const Problem& problem) const {
  const ScoreBlock& block = problem.block;
  const int64_t rows = block.rows.dim(0), step = tile_rows(rows, block.width(), options_.tile_elements);
  for (int64_t begin = 0; begin < rows; begin += step) {
    const int64_t n = std::min(step, rows - begin);
    const Band columns{problem.own.first + begin * problem.own.stride, problem.own.stride, problem.own.width};
    const auto scope = ex.arena.scope();
    const Tensor tile = ex.arena.tensor(block.d_rows.dtype(), {n, block.width()}), own = ex.arena.tensor(DType::f64, {n, columns.width});
    score(ex, block, begin, tile);
    ex.backend.read_band(tile, columns, own);
    ex.backend.fill_band(tile, columns, -HUGE_VAL);
    problem.mask.apply(ex, begin, tile);
    distil_rows(ex, problem, {begin, begin + n}, tile, own, problem.total);
    ex.backend.write_band(own, columns, tile);
    score_backward(ex, block, begin, tile);
  }
}

void StabilisedDistillation::distil_rows(Exec& ex, const Problem& problem, Slice rows, Tensor tile, Tensor own, Tensor total) const {
  const auto scope = ex.arena.scope();
  const double scale = 1 / options_.temperature;
  const Tensor others = ex.arena.tensor(tile.dtype(), {rows.count()}), d_logits = ex.arena.tensor(DType::f64, own.shape());
  ex.backend.log_sum_exp_rows(tile, scale, others);
  ex.backend.scale(scale, own, own);
  ex.backend.group_cascade(own, problem.order.rows(rows.begin, rows.end), problem.log_weights.rows(rows.begin, rows.end), others, d_logits,
                           total);
  ex.backend.scale(problem.row_weight, d_logits, own);
  ex.backend.scale(scale, own, own);
  ex.backend.softmax_rows(tile, scale, others, problem.row_weight * scale);
}

}  // namespace lodestone
