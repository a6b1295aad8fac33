#include "losses/cbb.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <vector>

#include "losses/score_block.h"
#include "losses/settings.h"

namespace lodestone {

namespace {

/// lse [N] = log of the sum over ranks of exp(lse): a maximum and a sum of exponentials of each query travel.
void add_over_ranks(Exec& ex, const Group& group, Tensor lse) {
  const auto scope = ex.arena.scope();
  const Tensor largest = ex.arena.tensor(lse.dtype(), lse.shape()), sum = ex.arena.tensor(lse.dtype(), lse.shape());
  ex.backend.copy(lse, largest);
  group.device.all_reduce(largest, largest, Reduce::max).wait();
  ex.backend.exp_difference(lse, largest, sum);
  group.device.all_reduce(sum, sum, Reduce::sum).wait();
  ex.backend.add_log(largest, sum, lse);
}

/// Some of a softmax's scores, and the log-sums of their rows.
struct Part {
  ScoreBlock block;
  Tensor lse;      // [rows]
  Slice places;    // of each group: the columns
  ScoreMask mask;  // of all rows
};

/// What a passage is scored with.
enum class ScoredWith : uint8_t { own_query, all_queries };

/// The queries of all ranks, and as products with them read vectors.
struct AllQueries {
  const SharedRows& shared;
  ScorePrecision precision;
  ConstTensor operand;
};

/// The passages at `places` of each group, scored with the query of their own group or with those of all ranks. lse [N].
Part part_of(Exec& ex, ScoredWith with, const UnitTexts& texts, const AllQueries& all, const PassagesPerQuery& passages, Slice places,
             Tensor lse) {
  const SharedRows& queries = all.shared;
  if (with == ScoredWith::all_queries)
    return {{all.operand, score_operand(ex, all.precision, passages.rows), queries.d_rows, passages.d_rows}, lse, places, {}};
  const Tensor own = lse.rows(queries.first_query, queries.first_query + texts.queries.dim(0));
  return {{texts.queries, passages.rows, texts.d_queries, passages.d_rows, places.count()}, own, places, {}};
}

/// What find_false_negatives() reads of a batch.
struct Masked {
  const Group& group;
  const Pairs& pairs;
  int64_t first_query;
};

/// Fills the parts' masks.
void find_false_negatives(Exec& ex, const Masked& batch, std::span<Part> parts) {
  const Pairs& pairs = batch.pairs;
  const FalseNegatives duplicates(ex, shared_hashes(ex, batch.group, pairs), local_hashes(pairs), pairs.group, batch.first_query);
  for (Part& part : parts)
    part.mask = part.block.group > 0 ? mask_of_own_groups(ex, local_hashes(pairs), pairs.group, part.places)
                                     : duplicates.passages(ex, {0, pairs.global_queries}, part.places);
}

/// Calls visit(part, rows, tile) for every tile of every part's scores, which has no false negatives.
template <class Visit>
void each_tile(Exec& ex, std::span<const Part> parts, int64_t tile_elements, const Visit& visit) {
  for (const Part& part : parts) {
    const int64_t rows = part.block.rows.dim(0), width = part.block.width(), step = tile_rows(rows, width, tile_elements);
    if (width == 0) continue;
    for (int64_t begin = 0; begin < rows; begin += step) {
      const int64_t n = std::min(step, rows - begin);
      const auto scope = ex.arena.scope();
      const Tensor tile = ex.arena.tensor(part.lse.dtype(), {n, width});
      score(ex, part.block, begin, tile);
      part.mask.apply(ex, begin, tile);
      visit(part, Slice{begin, begin + n}, tile);
    }
  }
}

}  // namespace

double cbb(const CbbInput& in, std::span<double> d_scores) {
  const auto group = static_cast<size_t>(in.group);
  const size_t pairs = in.scores.size() / group;
  const auto n = static_cast<size_t>(std::lround(std::sqrt(static_cast<double>(pairs)))), m = n * group;
  LODE_CHECK(n > 0 && n * m == in.scores.size() && d_scores.size() == in.scores.size(), "cbb: ", in.scores.size(),
             " scores of queries and their groups of ", group);
  std::fill(d_scores.begin(), d_scores.end(), 0.0);
  const double scale = 1 / in.temperature, weight = 1 / static_cast<double>(n);
  double loss = 0;
  for (size_t i = 0; i < n; ++i) {
    std::vector<size_t> candidates{i * m + i * group};
    for (size_t j = 0; j < m; ++j) {
      const bool own = j / group == i;
      const bool counts =
          j % group == 0 ? in.other_positives == OtherPositives::included && !own : in.negatives == NegativeScope::all || own;
      const bool masked =
          !in.hashes.query.empty() && is_false_negative(in.hashes, in.group, static_cast<int64_t>(i), static_cast<int64_t>(j));
      if (counts && !masked) candidates.push_back(i * m + j);
    }
    double largest = -HUGE_VAL, sum = 0;
    for (const size_t c : candidates) largest = std::max(largest, scale * in.scores[c]);
    for (const size_t c : candidates) sum += std::exp(scale * in.scores[c] - largest);
    const double lse = largest + std::log(sum);
    for (const size_t c : candidates) d_scores[c] = weight * scale * std::exp(scale * in.scores[c] - lse);
    d_scores[candidates[0]] -= weight * scale;
    loss += weight * (lse - scale * in.scores[candidates[0]]);
  }
  return loss;
}

std::optional<Refusal> refused(const CbbOptions& options) {
  const bool own_group_only = options.negatives == NegativeScope::own && options.other_positives == OtherPositives::excluded;
  if (auto refusal = refused_score_precision(options.score_precision, own_group_only)) return refusal;
  return refused_temperature("temperature", options.temperature);
}

Cbb::Cbb(const CbbOptions& options) : options_(options) { require_settings(refused(options)); }

LossResult Cbb::evaluate(Exec& ex, const Group& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb, Tensor share) {
  const auto scope = ex.arena.scope();
  const UnitTexts texts(ex, "cbb", emb, pairs);
  const double row_weight = weight / static_cast<double>(pairs.global_queries);
  const LossCounts counts =
      own_group_only(pairs) ? own_group(ex, pairs, texts, row_weight, share) : shared_queries(ex, group, pairs, texts, row_weight, share);
  texts.finish(ex, d_emb);
  return {counts};
}

LossCounts Cbb::own_group(Exec& ex, const Pairs& pairs, const UnitTexts& texts, double row_weight, Tensor share) const {
  const auto scope = ex.arena.scope();
  const ScoreBlock block{texts.queries, texts.passages, texts.d_queries, texts.d_passages, pairs.group};
  const bool masked = options_.duplicates == Duplicates::masked;
  const ScoreMask mask = masked ? mask_of_own_groups(ex, local_hashes(pairs), pairs.group, {0, pairs.group}) : ScoreMask();
  cross_entropy(
      ex, {&block, 1}, {.temperature = options_.temperature, .row_weight = row_weight, .tile_elements = options_.tile_elements},
      [&](size_t, int64_t first, Tensor tile) { mask.apply(ex, first, tile); }, share);
  return {mask.count};
}

LossCounts Cbb::shared_queries(Exec& ex, const Group& group, const Pairs& pairs, const UnitTexts& texts, double row_weight,
                               Tensor share) const {
  const auto scope = ex.arena.scope();
  const DType dtype = texts.queries.dtype();
  const double scale = 1 / options_.temperature;
  const PassagesPerQuery positives = positives_of(ex, texts.passages, texts.d_passages, pairs.group);
  const PassagesPerQuery negatives(ex, texts.passages, texts.d_passages, pairs.group, 1, pairs.group - 1);
  const SharedRows queries(ex, group, Candidates::all_ranks, pairs, 1, texts.queries, texts.d_queries);

  const Tensor lse = ex.arena.tensor(dtype, {pairs.global_queries});
  const Tensor own_lse = lse.rows(queries.first_query, queries.first_query + pairs.queries);
  ex.backend.fill_band(lse, {}, -HUGE_VAL);
  const bool others = options_.other_positives == OtherPositives::included;
  const AllQueries all{queries, options_.score_precision, score_operand(ex, options_.score_precision, queries.rows)};
  // The positives, then the negatives.
  std::array<Part, 2> parts{part_of(ex, others ? ScoredWith::all_queries : ScoredWith::own_query, texts, all, positives, {0, 1}, lse),
                            part_of(ex, options_.negatives == NegativeScope::all ? ScoredWith::all_queries : ScoredWith::own_query, texts,
                                    all, negatives, {1, pairs.group}, lse)};
  if (options_.duplicates == Duplicates::masked) find_false_negatives(ex, {group, pairs, queries.first_query}, parts);
  // Calls visit(those rows of a tile that have a positive in it, where) for this rank's queries. Among other positives it stands on a
  // diagonal.
  const int64_t first = others ? queries.first_query : 0, stride = others ? 1 : 0;
  const auto at_positives = [&](const Part& part, Slice rows, Tensor tile, const auto& visit) {
    const int64_t begin = std::max(rows.begin, first), end = std::min(rows.end, first + pairs.queries);
    if (&part == &parts[0] && begin < end) visit(tile.rows(begin - rows.begin, end - rows.begin), Band{(begin - first) * stride, stride});
  };

  const Tensor loss = zero_total(ex), positive_scores = zero_total(ex);
  each_tile(ex, parts, options_.tile_elements, [&](const Part& part, Slice rows, Tensor tile) {
    at_positives(part, rows, tile, [&](Tensor own, Band band) { ex.backend.add_band_sum(own, band, 1, positive_scores); });
    const Tensor tile_lse = ex.arena.tensor(dtype, {rows.count()});
    ex.backend.log_sum_exp_rows(tile, scale, tile_lse);
    ex.backend.log_add(tile_lse, part.lse.slice(rows));
  });
  add_over_ranks(ex, group, lse);
  ex.backend.add_band_sum(own_lse, {}, 1, loss);
  ex.backend.axpy(-scale, positive_scores, loss);
  ex.backend.axpy(row_weight, loss, share);

  each_tile(ex, parts, options_.tile_elements, [&](const Part& part, Slice rows, Tensor tile) {
    ex.backend.softmax_rows(tile, scale, part.lse.slice(rows), row_weight * scale);
    at_positives(part, rows, tile, [&](Tensor own, Band band) { ex.backend.add_to_band(own, band, -row_weight * scale); });
    score_backward(ex, part.block, rows.begin, tile);
  });
  queries.finish(ex, group);
  negatives.finish(ex);
  positives.finish(ex);
  return {parts[0].mask.count + parts[1].mask.count};
}

}  // namespace lodestone
