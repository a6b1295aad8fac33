#include "losses/info_nce.h"

#include <optional>
#include <vector>

#include "losses/cosines.h"
#include "losses/score_block.h"
#include "losses/settings.h"

namespace lodestone {

double info_nce(const InfoNceInput& in, std::span<double> d_queries, std::span<double> d_passages) {
  Cosines cosines(in.queries, in.passages, in.embedding, in.dimensions);
  const auto group = static_cast<size_t>(in.group), n = cosines.queries(), m = cosines.passages();
  LODE_CHECK(m == n * group, "info_nce: ", m, " passages for ", n, " queries of group ", group);
  const bool own = in.candidates == Candidates::own_group, both = in.direction == Direction::both && !own;
  const auto compared = [&](size_t query, size_t passage) {
    return in.hashes.query.empty() || !is_false_negative(in.hashes, in.group, static_cast<int64_t>(query), static_cast<int64_t>(passage));
  };
  const double weight = (both ? 0.5 : 1) / static_cast<double>(n);
  double loss = 0;
  for (size_t i = 0; i < n; ++i) {
    const size_t positive = i * group;
    std::vector<CosinePair> pairs{{i, cosines.passage(positive)}};
    for (size_t j = own ? positive : 0; j < (own ? positive + group : m); ++j)
      if (j != positive && compared(i, j)) pairs.push_back({i, cosines.passage(j)});
    loss += weight * cosines.cross_entropy(pairs, in.temperature, weight);
    if (!both) continue;
    pairs.resize(1);
    for (size_t k = 0; k < n; ++k)
      if (k != i && compared(k, positive)) pairs.push_back({k, cosines.passage(positive)});
    loss += weight * cosines.cross_entropy(pairs, in.temperature, weight);
  }
  cosines.gradient(d_queries, d_passages);
  return loss;
}

std::optional<Refusal> refused(const InfoNceOptions& options) {
  if (options.direction == Direction::both && options.candidates == Candidates::own_group)
    return Refusal{"symmetric",
                   "the symmetric term looks for each positive's query in the batch, and use_inbatch_neg: false leaves the others out",
                   "leave one of the two out"};
  if (auto refusal = refused_score_precision(options.score_precision, options.candidates == Candidates::own_group)) return refusal;
  return refused_temperature("temperature", options.temperature);
}

InfoNce::InfoNce(const InfoNceOptions& options) : options_(options) { require_settings(refused(options)); }

/// What the parts of one evaluation share.
struct InfoNce::Problem {
  Exec& ex;
  const Group& group;
  const Pairs& pairs;
  const UnitTexts& texts;
  Candidates candidates = Candidates::all_ranks;
  double row_weight = 0;
  const TextHashes* hashes = nullptr;          // of the candidates; null: nothing is masked
  const FalseNegatives* duplicates = nullptr;  // null: nothing is masked, or own_group
  Tensor share;
};

LossResult InfoNce::evaluate(Exec& ex, const Group& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb, Tensor share) {
  const auto scope = ex.arena.scope();
  const UnitTexts texts(ex, "info_nce", emb, pairs);
  const Candidates candidates = candidates_of(pairs, options_.candidates);
  const bool own = candidates == Candidates::own_group, both = options_.direction == Direction::both && !own;
  TextHashes hashes;
  std::optional<FalseNegatives> duplicates;
  if (options_.duplicates == Duplicates::masked) {
    hashes = candidate_hashes(ex, group, candidates, pairs);
    if (!own) duplicates.emplace(ex, hashes, pairs.group);
  }
  const Problem problem{.ex = ex,
                        .group = group,
                        .pairs = pairs,
                        .texts = texts,
                        .candidates = candidates,
                        .row_weight = (both ? 0.5 : 1) * weight / static_cast<double>(pairs.global_queries),
                        .hashes = options_.duplicates == Duplicates::masked ? &hashes : nullptr,
                        .duplicates = duplicates ? &*duplicates : nullptr,
                        .share = share};
  LossResult result{.counts = own ? own_group(problem) : among_passages(problem)};
  if (both) result.counts += among_queries(problem);
  texts.finish(ex, d_emb);
  return result;
}

LossCounts InfoNce::own_group(const Problem& problem) const {
  Exec& ex = problem.ex;
  const auto scope = ex.arena.scope();
  const UnitTexts& texts = problem.texts;
  const int64_t group = problem.pairs.group;
  const ScoreBlock block{texts.queries, texts.passages, texts.d_queries, texts.d_passages, group};
  const ScoreMask mask = problem.hashes == nullptr ? ScoreMask() : mask_of_own_groups(ex, *problem.hashes, group, {0, group});
  cross_entropy(
      ex, {&block, 1}, {.temperature = options_.temperature, .row_weight = problem.row_weight, .tile_elements = options_.tile_elements},
      [&](size_t, int64_t first, Tensor tile) { mask.apply(ex, first, tile); }, problem.share);
  return {mask.count};
}

LossCounts InfoNce::among_passages(const Problem& problem) const {
  Exec& ex = problem.ex;
  const auto scope = ex.arena.scope();
  const UnitTexts& texts = problem.texts;
  const int64_t group = problem.pairs.group;
  const SharedRows passages(ex, problem.group, problem.candidates, problem.pairs, group, texts.passages, texts.d_passages);
  const ScoreBlock block{score_operand(ex, options_.score_precision, texts.queries),
                         score_operand(ex, options_.score_precision, passages.rows), texts.d_queries, passages.d_rows};
  const Slice rows{passages.first_query, passages.first_query + problem.pairs.queries};
  const ScoreMask mask = problem.duplicates == nullptr ? ScoreMask() : problem.duplicates->passages(ex, rows, {0, group});
  cross_entropy(
      ex, {&block, 1},
      {.temperature = options_.temperature,
       .row_weight = problem.row_weight,
       .tile_elements = options_.tile_elements,
       .first_positive = passages.first_query * group,
       .positive_stride = group},
      [&](size_t, int64_t first, Tensor tile) { mask.apply(ex, first, tile); }, problem.share);
  passages.finish(ex, problem.group);
  return {mask.count};
}

LossCounts InfoNce::among_queries(const Problem& problem) const {
  Exec& ex = problem.ex;
  const auto scope = ex.arena.scope();
  const UnitTexts& texts = problem.texts;
  const auto positives = positives_of(ex, texts.passages, texts.d_passages, problem.pairs.group);
  const SharedRows queries(ex, problem.group, problem.candidates, problem.pairs, 1, texts.queries, texts.d_queries);
  const ScoreBlock block{score_operand(ex, options_.score_precision, positives.rows),
                         score_operand(ex, options_.score_precision, queries.rows), positives.d_rows, queries.d_rows};
  const Slice rows{queries.first_query, queries.first_query + problem.pairs.queries};
  const ScoreMask mask = problem.duplicates == nullptr ? ScoreMask() : problem.duplicates->queries_of_positives(ex, rows);
  cross_entropy(
      ex, {&block, 1},
      {.temperature = options_.temperature,
       .row_weight = problem.row_weight,
       .tile_elements = options_.tile_elements,
       .first_positive = queries.first_query,
       .positive_stride = 1},
      [&](size_t, int64_t first, Tensor tile) { mask.apply(ex, first, tile); }, problem.share);
  queries.finish(ex, problem.group);
  positives.finish(ex);
  return {mask.count};
}

}  // namespace lodestone
