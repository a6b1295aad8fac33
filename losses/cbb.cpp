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

template <class T>
void add_over_ranks_in(Exec& ex, Communicator& group, Tensor lse) {
  const auto scope = ex.arena.scope();
  const Tensor largest = ex.arena.tensor(lse.dtype(), lse.shape()), sum = ex.arena.tensor(lse.dtype(), lse.shape());
  ex.backend.copy(lse, largest);
  group.all_reduce(largest, largest, Reduce::max).wait();
  const auto logs = lse.host<T>(), tops = largest.host<T>(), sums = sum.host<T>();
  for (size_t i = 0; i < logs.size(); ++i) sums[i] = std::exp(logs[i] - tops[i]);
  group.all_reduce(sum, sum, Reduce::sum).wait();
  for (size_t i = 0; i < logs.size(); ++i) logs[i] = tops[i] + std::log(sums[i]);
}

/// lse [N] = log of the sum over ranks of exp(lse): a maximum and a sum of exponentials of each query travel.
void add_over_ranks(Exec& ex, Communicator& group, Tensor lse) {
  lse.dtype() == DType::f64 ? add_over_ranks_in<double>(ex, group, lse) : add_over_ranks_in<float>(ex, group, lse);
}

/// Some of a softmax's scores, and the log-sums of their rows.
struct Part {
  ScoreBlock block;
  Tensor lse;    // [rows]
  Slice places;  // of each group: the columns
};

/// What a passage is scored with.
enum class ScoredWith : uint8_t { own_query, all_queries };

/// The passages at `places` of each group, scored with the query of their own group or with those of all ranks. lse [N].
Part part_of(ScoredWith with, const UnitTexts& texts, const SharedRows& queries, const PassagesPerQuery& passages, Slice places,
             Tensor lse) {
  if (with == ScoredWith::all_queries) return {{queries.rows, passages.rows, queries.d_rows, passages.d_rows}, lse, places};
  const Tensor own = lse.rows(queries.first_query, queries.first_query + texts.queries.dim(0));
  return {{texts.queries, passages.rows, texts.d_queries, passages.d_rows, places.count()}, own, places};
}

/// Calls visit(part, first, tile) for every tile of every part's scores.
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
      visit(part, Slice{begin, begin + n}, tile);
    }
  }
}

}  // namespace

double cbb(const CbbInput& in, std::span<double> d_scores) {
  const auto group = static_cast<size_t>(in.group);
  const auto n = static_cast<size_t>(std::lround(std::sqrt(static_cast<double>(in.scores.size() / group)))), m = n * group;
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

std::optional<Refusal> refused(const CbbOptions& options) { return refused_temperature("temperature", options.temperature); }

Cbb::Cbb(const CbbOptions& options) : options_(options) { require_settings(refused(options)); }

double Cbb::evaluate(Exec& ex, Communicator& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb) {
  const auto scope = ex.arena.scope();
  const UnitTexts texts(ex, "cbb", emb, pairs);
  const double row_weight = weight / static_cast<double>(pairs.global_queries);
  counts_ = {};
  const double loss = own_group_only(pairs) ? own_group(ex, pairs, texts, row_weight) : shared_queries(ex, group, pairs, texts, row_weight);
  texts.finish(ex, d_emb);
  return loss;
}

LossMemory Cbb::memory(const VectorBatch& batch) const {
  const Pairs& pairs = batch.pairs;
  const int64_t mine = pairs.queries, n = pairs.global_queries, hard = pairs.group - 1;
  LossMemory m = UnitTexts::memory(batch);
  if (own_group_only(pairs)) {
    m.others += cross_entropy_bytes(batch.dtype, mine, {pairs.group}, options_.tile_elements);
    return m;
  }
  const auto tile = [&](int64_t rows, int64_t width) {
    const int64_t at_once = tile_rows(rows, width, options_.tile_elements);
    return Arena::taken_bytes(batch.dtype, {at_once, width}) + batch.numbers(at_once);
  };
  m += PassagesPerQuery::memory(batch, mine, 1) + PassagesPerQuery::memory(batch, mine, hard) +
       SharedRows::memory(batch, Candidates::all_ranks, 1);
  const size_t positives = options_.other_positives == OtherPositives::included ? tile(n, mine) : tile(mine, 1);
  const size_t negatives = options_.negatives == NegativeScope::all ? tile(n, mine * hard) : tile(mine, hard);
  m.others += batch.numbers(n) + std::max({positives, negatives, 2 * batch.numbers(n)});
  if (options_.duplicates == Duplicates::masked) m.others += shared_hash_bytes(batch);
  return m;
}

double Cbb::own_group(Exec& ex, const Pairs& pairs, const UnitTexts& texts, double row_weight) {
  const ScoreBlock block{texts.queries, texts.passages, texts.d_queries, texts.d_passages, pairs.group};
  return cross_entropy(ex, {&block, 1},
                       {.temperature = options_.temperature, .row_weight = row_weight, .tile_elements = options_.tile_elements},
                       [&](size_t, int64_t first, Tensor tile) {
                         if (options_.duplicates == Duplicates::masked)
                           counts_.masked_candidates += mask_own_group(local_hashes(pairs), pairs.group, first, {0, pairs.group}, tile);
                       });
}

double Cbb::shared_queries(Exec& ex, Communicator& group, const Pairs& pairs, const UnitTexts& texts, double row_weight) {
  const auto scope = ex.arena.scope();
  const DType dtype = texts.queries.dtype();
  const double scale = 1 / options_.temperature;
  const PassagesPerQuery positives = positives_of(ex, texts.passages, texts.d_passages, pairs.group);
  const PassagesPerQuery negatives(ex, texts.passages, texts.d_passages, pairs.group, 1, pairs.group - 1);
  const SharedRows queries(ex, group, Candidates::all_ranks, pairs, 1, texts.queries, texts.d_queries);

  const Tensor lse = ex.arena.tensor(dtype, {pairs.global_queries});
  const Tensor own_lse = lse.rows(queries.first_query, queries.first_query + pairs.queries);
  set_to_minus_infinity(lse, 0, 0);
  const bool others = options_.other_positives == OtherPositives::included;
  // The positives, then the negatives.
  const std::array<Part, 2> parts{part_of(others ? ScoredWith::all_queries : ScoredWith::own_query, texts, queries, positives, {0, 1}, lse),
                                  part_of(options_.negatives == NegativeScope::all ? ScoredWith::all_queries : ScoredWith::own_query, texts,
                                          queries, negatives, {1, pairs.group}, lse)};
  // Calls visit(those rows of a tile that have a positive in it, column of the first one's) for this rank's queries. Among other
  // positives it stands on a diagonal.
  const int64_t first = others ? queries.first_query : 0, stride = others ? 1 : 0;
  const auto at_positives = [&](const Part& part, Slice rows, Tensor tile, const auto& visit) {
    const int64_t begin = std::max(rows.begin, first), end = std::min(rows.end, first + pairs.queries);
    if (&part == &parts[0] && begin < end) visit(tile.rows(begin - rows.begin, end - rows.begin), (begin - first) * stride);
  };

  QueryHashes hashes;
  std::optional<FalseNegatives> duplicates;
  if (options_.duplicates == Duplicates::masked) {
    hashes = shared_hashes(ex, group, pairs);
    duplicates.emplace(ex, hashes, local_hashes(pairs), pairs.group, queries.first_query);
  }
  const auto mask = [&](const Part& part, Slice rows, Tensor tile) -> int64_t {
    if (!duplicates) return 0;
    if (part.block.group > 0) return mask_own_group(local_hashes(pairs), pairs.group, rows.begin, part.places, tile);
    return duplicates->mask_passages(rows.begin, part.places, tile);
  };

  double positive_scores = 0;
  each_tile(ex, parts, options_.tile_elements, [&](const Part& part, Slice rows, Tensor tile) {
    counts_.masked_candidates += mask(part, rows, tile);
    at_positives(part, rows, tile, [&](Tensor own, int64_t column) { positive_scores += sum(own, column, stride); });
    const Tensor tile_lse = ex.arena.tensor(dtype, {rows.count()});
    ex.backend.log_sum_exp_rows(tile, scale, tile_lse);
    log_add(tile_lse, part.lse.slice(rows));
  });
  add_over_ranks(ex, group, lse);
  const double loss = row_weight * (sum(own_lse, 0, 0) - scale * positive_scores);

  each_tile(ex, parts, options_.tile_elements, [&](const Part& part, Slice rows, Tensor tile) {
    mask(part, rows, tile);
    ex.backend.softmax_rows(tile, scale, part.lse.slice(rows), row_weight * scale);
    at_positives(part, rows, tile, [&](Tensor own, int64_t column) { subtract(own, row_weight * scale, column, stride); });
    score_backward(ex, part.block, rows.begin, tile);
  });
  queries.finish(ex, group);
  negatives.finish(ex);
  positives.finish(ex);
  return loss;
}

}  // namespace lodestone
