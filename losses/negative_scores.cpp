#include "losses/negative_scores.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

namespace lodestone {

namespace {

constexpr double smallest_norm = 1e-12;  // as Backend::l2_normalize_forward

template <class T>
double dot(std::span<const T> a, std::span<const T> b) {
  double sum = 0;
  for (size_t e = 0; e < a.size(); ++e) sum += static_cast<double>(a[e]) * static_cast<double>(b[e]);
  return sum;
}

template <class T>
double norm(std::span<const T> a) {
  return std::max(std::sqrt(dot(a, a)), smallest_norm);
}

template <class T>
std::span<const T> row(ConstTensor x, int64_t i) {
  return x.rows(i, i + 1).host<T>();
}

template <class T>
std::vector<double> similarities(ConstTensor query, ConstTensor candidates, Similarity similarity) {
  const std::span<const T> q = query.host<T>();
  const double length = norm(q);
  std::vector<double> scores;
  for (int64_t j = 0; j < candidates.dim(0); ++j) {
    const std::span<const T> c = row<T>(candidates, j);
    scores.push_back(similarity == Similarity::dot ? dot(q, c) : dot(q, c) / (length * norm(c)));
  }
  return scores;
}

}  // namespace

void negative_scores(Exec& ex, ConstTensor emb, const Pairs& pairs, Similarity similarity, std::span<double> scores) {
  const int64_t texts = pairs.queries * (1 + pairs.group), passages = pairs.queries * pairs.group;
  LODE_CHECK(emb.dim(0) == texts && std::ssize(scores) == pairs.queries * (pairs.group - 1), "negative scores: emb ", emb.shape(), " and ",
             scores.size(), " scores for ", pairs.queries, " queries of group ", pairs.group);
  const auto scope = ex.arena.scope();
  const bool cosine = similarity == Similarity::cosine;
  const Tensor all = ex.arena.tensor(DType::f64, {passages + (cosine ? texts : 0)});  // products of queries and passages, then squares
  ex.backend.group_dots(emb.rows(0, pairs.queries), emb.rows(pairs.queries, texts),
                        all.slice({0, passages}).reshape({pairs.queries, pairs.group}));
  if (cosine) ex.backend.group_dots(emb, emb, all.slice({passages, passages + texts}).reshape({texts, 1}));
  const std::span<const double> host = fetch<double>(ex.backend, ex.arena, all);
  const auto products = host.first(static_cast<size_t>(passages)), squares = host.subspan(static_cast<size_t>(passages));
  const auto length = [&](size_t text) { return cosine ? std::max(std::sqrt(squares[text]), smallest_norm) : 1.0; };
  const auto queries = static_cast<size_t>(pairs.queries), group = static_cast<size_t>(pairs.group);
  size_t next = 0;
  for (size_t i = 0; i < queries; ++i)
    for (size_t j = i * group + 1; j < (i + 1) * group; ++j) scores[next++] = products[j] / (length(i) * length(queries + j));
}

void mean_per_query(std::span<const double> scores, std::span<double> means) {
  LODE_CHECK(means.empty() || (scores.size() % means.size() == 0 && !scores.empty()), "negative scores: ", scores.size(), " for ",
             means.size(), " queries");
  if (means.empty()) return;
  const size_t each = scores.size() / means.size();
  for (size_t i = 0; i < means.size(); ++i) {
    double sum = 0;
    for (size_t k = 0; k < each; ++k) sum += scores[i * each + k];
    means[i] = sum / static_cast<double>(each);
  }
}

LossResult ScoredLoss::evaluate(Exec& ex, const Group& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb,
                                Tensor share) {
  scores_.resize(static_cast<size_t>(pairs.queries * (pairs.group - 1)));
  negative_scores(ex, emb, pairs, similarity_, scores_);
  LossResult result = loss_->evaluate(ex, group, emb, pairs, weight, d_emb, share);
  result.scores = scores_;
  return result;
}

std::vector<int32_t> rank_candidates(ConstTensor query, ConstTensor candidates, Similarity similarity, std::span<const uint64_t> hashes) {
  LODE_CHECK(query.count() == (candidates.dim(0) == 0 ? query.count() : candidates.dim(1)) && query.dtype() == candidates.dtype() &&
                 static_cast<int64_t>(hashes.size()) == candidates.dim(0),
             "ranking: query ", query.shape(), ", candidates ", candidates.shape(), ", ", hashes.size(), " hashes");
  const std::vector<double> scores = query.dtype() == DType::f64 ? similarities<double>(query, candidates, similarity)
                                                                 : similarities<float>(query, candidates, similarity);
  std::unordered_set<uint64_t> taken;
  std::vector<int32_t> places;
  for (size_t j = 0; j < hashes.size(); ++j)
    if (std::isfinite(scores[j]) && taken.insert(hashes[j]).second) places.push_back(static_cast<int32_t>(j));
  std::stable_sort(places.begin(), places.end(),
                   [&](int32_t a, int32_t b) { return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)]; });
  return places;
}

}  // namespace lodestone
