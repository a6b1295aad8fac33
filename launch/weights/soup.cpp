#include "launch/weights/soup.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"

namespace lodestone {

std::vector<double> mean_weights(size_t count, std::span<const size_t> chosen) {
  std::vector<double> weights(count, 0);
  for (const size_t m : chosen) weights[m] = 1.0 / static_cast<double>(chosen.size());
  return weights;
}

std::vector<double> mean_weights(size_t count) { return std::vector<double>(count, 1.0 / static_cast<double>(count)); }

GreedySoup greedy_soup(std::span<const double> scores, const std::function<double(std::span<const size_t>)>& score_of) {
  LODE_CHECK(!scores.empty(), "a soup of no models");
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  GreedySoup soup{{order.front()}, scores[order.front()]};
  for (size_t i = 1; i < order.size(); ++i) {
    std::vector<size_t> tried = soup.chosen;
    tried.push_back(order[i]);
    const double score = score_of(tried);
    if (score >= soup.score) soup = {std::move(tried), score};
  }
  return soup;
}

}  // namespace lodestone
