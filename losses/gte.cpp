#include "losses/gte.h"

#include <array>
#include <limits>
#include <optional>
#include <vector>

#include "losses/cosines.h"
#include "losses/score_block.h"
#include "losses/settings.h"

namespace lodestone {

double gte(const GteInput& in, std::span<double> d_queries, std::span<double> d_passages) {
  Cosines cosines(in.queries, in.passages, in.embedding, in.dimensions);
  const auto group = static_cast<size_t>(in.group), n = cosines.queries(), m = cosines.passages();
  LODE_CHECK(m == n * group, "gte: ", m, " passages for ", n, " queries of group ", group);
  const bool own = in.candidates == Candidates::own_group;
  const bool masked = !in.hashes.query.empty();
  const auto passage_counts = [&](size_t query, size_t passage) {
    return !masked || !is_false_negative(in.hashes, in.group, static_cast<int64_t>(query), static_cast<int64_t>(passage));
  };
  const auto query_counts = [&](size_t query, size_t other) {
    return !masked || !is_false_negative_query(in.hashes, in.group, static_cast<int64_t>(query), static_cast<int64_t>(other));
  };
  const double weight = 1 / static_cast<double>(n);
  double loss = 0;
  for (size_t i = 0; i < n; ++i) {
    const size_t positive = i * group, d = cosines.passage(positive);
    const auto among = [&](size_t other) { return !own || other == i; };  // texts of query `other` count
    std::vector<CosinePair> pairs{{i, d}};
    for (size_t j = 0; j < m; ++j)
      if (j != positive && among(j / group) && passage_counts(i, j)) pairs.push_back({i, cosines.passage(j)});
    for (size_t j = 0; j < n; ++j)
      if (j != i && among(j) && query_counts(i, j)) pairs.push_back({i, j});
    for (size_t j = 0; j < n; ++j)
      if (j == i ? in.positive_terms == PositiveTerms::twice : among(j) && passage_counts(j, positive)) pairs.push_back({j, d});
    for (size_t j = 0; j < m; ++j) {
      const bool rival = j % group == 0 || in.positive_rivals == PositiveRivals::all_passages;
      if (j / group != i && rival && !own && passage_counts(i, j)) pairs.push_back({cosines.passage(j), d});
    }
    loss += weight * cosines.cross_entropy(pairs, in.temperature, weight);
  }
  cosines.gradient(d_queries, d_passages);
  return loss;
}

std::optional<Refusal> refused(const GteOptions& options) {
  if (auto refusal = refused_score_precision(options.score_precision, options.candidates == Candidates::own_group)) return refusal;
  return refused_temperature("temperature", options.temperature);
}

Gte::Gte(const GteOptions& options) : options_(options) { require_settings(refused(options)); }

namespace {

/// The four sums, in the order of the formula.
enum class Block : size_t { query_to_passages, query_to_queries, positive_to_queries, positive_to_rivals };
using BlockMasks = std::array<ScoreMask, 4>;

/// What each of them leaves out of the rows of the queries `rows`.
BlockMasks block_masks(Exec& ex, const FalseNegatives& duplicates, Slice rows, int64_t group, int64_t rivals) {
  return {duplicates.passages(ex, rows, {0, group}), duplicates.queries(ex, rows), duplicates.queries_of_positives(ex, rows),
          duplicates.passages(ex, rows, {0, rivals}, FalseNegatives::OwnGroup::left_out)};
}

}  // namespace

LossResult Gte::evaluate(Exec& ex, const Group& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb, Tensor share) {
  const auto scope = ex.arena.scope();
  const UnitTexts texts(ex, "gte", emb, pairs);
  const double row_weight = weight / static_cast<double>(pairs.global_queries);
  const bool own = candidates_of(pairs, options_.candidates) == Candidates::own_group;
  const LossCounts counts = own ? own_group(ex, pairs, texts, row_weight, share) : in_batch(ex, group, pairs, texts, row_weight, share);
  texts.finish(ex, d_emb);
  return {counts};
}

LossCounts Gte::own_group(Exec& ex, const Pairs& pairs, const UnitTexts& texts, double row_weight, Tensor share) const {
  const auto scope = ex.arena.scope();
  const PassagesPerQuery positives = positives_of(ex, texts.passages, texts.d_passages, pairs.group);
  const std::array<ScoreBlock, 2> blocks{{{texts.queries, texts.passages, texts.d_queries, texts.d_passages, pairs.group},
                                          {texts.queries, positives.rows, texts.d_queries, positives.d_rows, 1}}};
  const bool masked = options_.duplicates == Duplicates::masked;
  const ScoreMask mask = masked ? mask_of_own_groups(ex, local_hashes(pairs), pairs.group, {0, pairs.group}) : ScoreMask();
  cross_entropy(
      ex, std::span(blocks).first(options_.positive_terms == PositiveTerms::twice ? 2 : 1),
      {.temperature = options_.temperature, .row_weight = row_weight, .tile_elements = options_.tile_elements},
      [&](size_t block, int64_t first, Tensor tile) {
        if (block == 0) mask.apply(ex, first, tile);
      },
      share);
  positives.finish(ex);
  return {mask.count};
}

LossCounts Gte::in_batch(Exec& ex, const Group& group, const Pairs& pairs, const UnitTexts& texts, double row_weight, Tensor share) const {
  const auto scope = ex.arena.scope();
  const int64_t rivals_of_query = rivals_per_query(pairs);
  const PassagesPerQuery positives = positives_of(ex, texts.passages, texts.d_passages, pairs.group);
  const SharedRows queries(ex, group, options_.candidates, pairs, 1, texts.queries, texts.d_queries);
  const SharedRows passages(ex, group, options_.candidates, pairs, pairs.group, texts.passages, texts.d_passages);
  const PassagesPerQuery rivals(ex, passages.rows, passages.d_rows, pairs.group, 0, rivals_of_query);
  const int64_t first_query = queries.first_query;
  BlockMasks masks;
  if (options_.duplicates == Duplicates::masked) {
    const FalseNegatives duplicates(ex, candidate_hashes(ex, group, options_.candidates, pairs), pairs.group);
    masks = block_masks(ex, duplicates, {first_query, first_query + pairs.queries}, pairs.group, rivals_of_query);
  }
  const auto operand = [&](ConstTensor vectors) { return score_operand(ex, options_.score_precision, vectors); };
  const ConstTensor own_queries = operand(texts.queries), own_positives = operand(positives.rows), all_queries = operand(queries.rows),
                    all_passages = operand(passages.rows), all_rivals = operand(rivals.rows);
  const std::array<ScoreBlock, 4> blocks{{{own_queries, all_passages, texts.d_queries, passages.d_rows},
                                          {own_queries, all_queries, texts.d_queries, queries.d_rows},
                                          {own_positives, all_queries, positives.d_rows, queries.d_rows},
                                          {own_positives, all_rivals, positives.d_rows, rivals.d_rows}}};
  constexpr double nothing = -std::numeric_limits<double>::infinity();
  cross_entropy(
      ex, blocks,
      {.temperature = options_.temperature,
       .row_weight = row_weight,
       .tile_elements = options_.tile_elements,
       .first_positive = first_query * pairs.group,
       .positive_stride = pairs.group},
      [&](size_t index, int64_t first, Tensor tile) {
        const auto block = static_cast<Block>(index);
        const int64_t own = first_query + first;
        if (block == Block::query_to_queries || (block == Block::positive_to_queries && options_.positive_terms == PositiveTerms::once))
          ex.backend.fill_band(tile, {own, 1}, nothing);
        if (block == Block::positive_to_rivals)
          ex.backend.fill_band(tile, {own * rivals_of_query, rivals_of_query, rivals_of_query}, nothing);
        masks[index].apply(ex, first, tile);
      },
      share);
  rivals.finish(ex);
  passages.finish(ex, group);
  queries.finish(ex, group);
  positives.finish(ex);
  LossCounts counts;
  for (const ScoreMask& mask : masks) counts.masked_candidates += mask.count;
  return counts;
}

}  // namespace lodestone
