#include "losses/metrics.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "core/error.h"

namespace lodestone {

namespace {

std::span<const double> first(std::span<const double> ranked, int64_t k) {
  return ranked.subspan(0, std::min(ranked.size(), static_cast<size_t>(k)));
}

double discounted_gain(std::span<const double> gains) {
  double sum = 0;
  for (size_t r = 0; r < gains.size(); ++r) sum += std::max(gains[r], 0.0) / std::log2(static_cast<double>(r) + 2);
  return sum;
}

double relevant_count(const RankedGains& query) {
  return static_cast<double>(std::count_if(query.judged.begin(), query.judged.end(), [](double g) { return g > 0; }));
}

}  // namespace

bool ranks_before(const Hit& a, const Hit& b) { return a.score != b.score ? a.score > b.score : a.document > b.document; }

double ndcg_at(const RankedGains& query, int64_t k) {
  std::vector<double> ideal(query.judged.begin(), query.judged.end());
  std::sort(ideal.begin(), ideal.end(), std::greater<>());
  const double best = discounted_gain(first(ideal, k));
  return best > 0 ? discounted_gain(first(query.ranked, k)) / best : 0;
}

double reciprocal_rank_at(const RankedGains& query, int64_t k) {
  const auto top = first(query.ranked, k);
  const auto found = std::find_if(top.begin(), top.end(), [](double g) { return g > 0; });
  return found == top.end() ? 0 : 1 / static_cast<double>(found - top.begin() + 1);
}

double recall_at(const RankedGains& query, int64_t k) {
  const auto top = first(query.ranked, k);
  const double relevant = relevant_count(query);
  const auto found = std::count_if(top.begin(), top.end(), [](double g) { return g > 0; });
  return relevant > 0 ? static_cast<double>(found) / relevant : 0;
}

double average_precision_at(const RankedGains& query, int64_t k) {
  const auto top = first(query.ranked, k);
  const double relevant = relevant_count(query);
  double found = 0, sum = 0;
  for (size_t r = 0; r < top.size(); ++r)
    if (top[r] > 0) sum += ++found / static_cast<double>(r + 1);
  return relevant > 0 ? sum / relevant : 0;
}

double pearson(std::span<const double> x, std::span<const double> y) {
  LODE_CHECK(x.size() == y.size(), "correlation of ", x.size(), " values with ", y.size());
  const auto n = static_cast<double>(x.size());
  const double mean_x = std::accumulate(x.begin(), x.end(), 0.0) / n, mean_y = std::accumulate(y.begin(), y.end(), 0.0) / n;
  double xx = 0, yy = 0, xy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double dx = x[i] - mean_x, dy = y[i] - mean_y;
    xx += dx * dx;
    yy += dy * dy;
    xy += dx * dy;
  }
  return xy / (std::sqrt(xx) * std::sqrt(yy));
}

std::vector<double> average_ranks(std::span<const double> x) {
  std::vector<size_t> order(x.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return x[a] < x[b]; });
  std::vector<double> ranks(x.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin + 1;
    while (end < order.size() && x[order[end]] == x[order[begin]]) ++end;
    const double rank = static_cast<double>(begin + end + 1) / 2;  // average of begin+1 .. end
    for (size_t i = begin; i < end; ++i) ranks[order[i]] = rank;
    begin = end;
  }
  return ranks;
}

double spearman(std::span<const double> x, std::span<const double> y) { return pearson(average_ranks(x), average_ranks(y)); }

}  // namespace lodestone
