// How good rankings and similarity scores are: nDCG, MRR, recall, MAP; Spearman, Pearson. Pure functions of plain arrays.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace lodestone {

/// A document found for a query.
struct Hit {
  std::string_view document;  // its id
  float score = 0;
};

/// The order of trec_eval: higher score first, equal scores by document id, the later id first.
bool ranks_before(const Hit& a, const Hit& b);

/// What is known of one query's ranking. Gains are those of the judgements: 0 or less is not relevant, higher is better.
struct RankedGains {
  std::span<const double> ranked;  // gain of each document found, best document first; 0 where unjudged
  std::span<const double> judged;  // gains of all judged documents of the query, in any order
};

// As trec_eval's ndcg_cut_k, recip_rank (cut at k), recall_k and map_cut_k. A query without a relevant document gives 0.
/// sum_r gain_r / log2(r + 1) over the first k ranks (r from 1), divided by its largest possible value.
double ndcg_at(const RankedGains& query, int64_t k);
/// 1 / rank of the first relevant document among the first k, 0 if there is none.
double reciprocal_rank_at(const RankedGains& query, int64_t k);
/// Share of the query's relevant documents that are among the first k.
double recall_at(const RankedGains& query, int64_t k);
/// Sum of precision at the rank of each relevant document among the first k, divided by the number of relevant documents.
double average_precision_at(const RankedGains& query, int64_t k);

/// Pearson's correlation. NaN when either side is constant. Throws Error (internal) when lengths differ.
double pearson(std::span<const double> x, std::span<const double> y);
/// Pearson's correlation of ranks; equal values share the average of their ranks.
double spearman(std::span<const double> x, std::span<const double> y);
/// Ranks from 1, ascending; equal values share the average of their ranks.
std::vector<double> average_ranks(std::span<const double> x);

}  // namespace lodestone
