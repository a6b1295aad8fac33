#include "losses/gte.h"

#include <array>
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

std::optional<Refusal> refused(const GteOptions& options) { return refused_temperature("temperature", options.temperature); }

Gte::Gte(const GteOptions& options) : options_(options) { require_settings(refused(options)); }

double Gte::evaluate(Exec& ex, Communicator& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb) {
  const auto scope = ex.arena.scope();
  const UnitTexts texts(ex, "gte", emb, pairs);
  const double row_weight = weight / static_cast<double>(pairs.global_queries);
  counts_ = {};
  const double loss = candidates_of(pairs, options_.candidates) == Candidates::own_group ? own_group(ex, pairs, texts, row_weight)
                                                                                         : in_batch(ex, group, pairs, texts, row_weight);
  texts.finish(ex, d_emb);
  return loss;
}

LossMemory Gte::memory(const VectorBatch& batch) const {
  const Pairs& pairs = batch.pairs;
  const Candidates candidates = candidates_of(pairs, options_.candidates);
  LossMemory m = UnitTexts::memory(batch) + PassagesPerQuery::memory(batch, pairs.queries, 1);
  if (candidates == Candidates::own_group) {
    m.others += cross_entropy_bytes(batch.dtype, pairs.queries, {pairs.group, 1}, options_.tile_elements);
    return m;
  }
  const int64_t n = candidate_queries(pairs, candidates), rivals = rivals_per_query(pairs);
  m += SharedRows::memory(batch, candidates, 1) + SharedRows::memory(batch, candidates, pairs.group) +
       PassagesPerQuery::memory(batch, n, rivals);
  m.others += cross_entropy_bytes(batch.dtype, pairs.queries, {n * pairs.group, n, n, n * rivals}, options_.tile_elements);
  if (options_.duplicates == Duplicates::masked) m.others += candidate_hash_bytes(batch, candidates);
  return m;
}

double Gte::own_group(Exec& ex, const Pairs& pairs, const UnitTexts& texts, double row_weight) {
  const auto scope = ex.arena.scope();
  const PassagesPerQuery positives = positives_of(ex, texts.passages, texts.d_passages, pairs.group);
  const std::array<ScoreBlock, 2> blocks{{{texts.queries, texts.passages, texts.d_queries, texts.d_passages, pairs.group},
                                          {texts.queries, positives.rows, texts.d_queries, positives.d_rows, 1}}};
  const double loss =
      cross_entropy(ex, std::span(blocks).first(options_.positive_terms == PositiveTerms::twice ? 2 : 1),
                    {.temperature = options_.temperature, .row_weight = row_weight, .tile_elements = options_.tile_elements},
                    [&](size_t block, int64_t first, Tensor tile) {
                      if (block == 0 && options_.duplicates == Duplicates::masked)
                        counts_.masked_candidates += mask_own_group(local_hashes(pairs), pairs.group, first, {0, pairs.group}, tile);
                    });
  positives.finish(ex);
  return loss;
}

double Gte::in_batch(Exec& ex, Communicator& group, const Pairs& pairs, const UnitTexts& texts, double row_weight) {
  const auto scope = ex.arena.scope();
  const int64_t rivals_of_query = rivals_per_query(pairs);
  const PassagesPerQuery positives = positives_of(ex, texts.passages, texts.d_passages, pairs.group);
  const SharedRows queries(ex, group, options_.candidates, pairs, 1, texts.queries, texts.d_queries);
  const SharedRows passages(ex, group, options_.candidates, pairs, pairs.group, texts.passages, texts.d_passages);
  const PassagesPerQuery rivals(ex, passages.rows, passages.d_rows, pairs.group, 0, rivals_of_query);
  const int64_t first_query = queries.first_query;
  TextHashes hashes;
  std::optional<FalseNegatives> duplicates;
  if (options_.duplicates == Duplicates::masked) {
    hashes = candidate_hashes(ex, group, options_.candidates, pairs);
    duplicates.emplace(ex, hashes, pairs.group);
  }
  enum class Block : size_t { query_to_passages, query_to_queries, positive_to_queries, positive_to_rivals };
  const std::array<ScoreBlock, 4> blocks{{{texts.queries, passages.rows, texts.d_queries, passages.d_rows},
                                          {texts.queries, queries.rows, texts.d_queries, queries.d_rows},
                                          {positives.rows, queries.rows, positives.d_rows, queries.d_rows},
                                          {positives.rows, rivals.rows, positives.d_rows, rivals.d_rows}}};
  const auto mask_duplicates = [&](Block block, int64_t own, Tensor tile) {
    switch (block) {
      case Block::query_to_passages:
        return duplicates->mask_passages(own, {0, pairs.group}, tile);
      case Block::query_to_queries:
        return duplicates->mask_queries(own, tile);
      case Block::positive_to_queries:
        return duplicates->mask_queries_of_positives(own, tile);
      case Block::positive_to_rivals:
        return duplicates->mask_passages(own, {0, rivals_of_query}, tile);
    }
    throw_internal(__FILE__, __LINE__, "block", "no such block of scores");
  };
  const double loss = cross_entropy(ex, blocks,
                                    {.temperature = options_.temperature,
                                     .row_weight = row_weight,
                                     .tile_elements = options_.tile_elements,
                                     .first_positive = first_query * pairs.group,
                                     .positive_stride = pairs.group},
                                    [&](size_t index, int64_t first, Tensor tile) {
                                      const auto block = static_cast<Block>(index);
                                      const int64_t own = first_query + first;
                                      if (block == Block::query_to_queries) set_to_minus_infinity(tile, own, 1);
                                      if (block == Block::positive_to_queries && options_.positive_terms == PositiveTerms::once)
                                        set_to_minus_infinity(tile, own, 1);
                                      if (block == Block::positive_to_rivals)
                                        for (int64_t g = 0; g < rivals_of_query; ++g)
                                          set_to_minus_infinity(tile, own * rivals_of_query + g, rivals_of_query);
                                      if (duplicates) counts_.masked_candidates += mask_duplicates(block, own, tile);
                                    });
  rivals.finish(ex);
  passages.finish(ex, group);
  queries.finish(ex, group);
  positives.finish(ex);
  return loss;
}

}  // namespace lodestone
