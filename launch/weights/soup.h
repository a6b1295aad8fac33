// Which models a soup is made of: all of them, or those that do not make it worse.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

namespace lodestone {

enum class Soup : uint8_t {
  uniform,  // the mean of all
  greedy,   // of those that help, by a held-out score
};
constexpr std::string_view name_of(Soup value) {
  switch (value) {
    case Soup::uniform:
      return "uniform";
    case Soup::greedy:
      return "greedy";
  }
  return {};
}

/// 1 / K for the K models chosen of `count`, 0 for the others.
std::vector<double> mean_weights(size_t count, std::span<const size_t> chosen);
std::vector<double> mean_weights(size_t count);

struct GreedySoup {
  std::vector<size_t> chosen;  // in the order in which they joined
  double score = 0;            // of their mean
};
/// Wortsman et al. 2022, "Model soups", recipe 1: models are tried by their own score, the best first and equal ones in their order; the
/// best begins, and each next one joins where the mean with it scores no less than without. score_of(chosen) is the score of a mean.
GreedySoup greedy_soup(std::span<const double> scores, const std::function<double(std::span<const size_t> chosen)>& score_of);

}  // namespace lodestone
