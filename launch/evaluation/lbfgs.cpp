#include "launch/evaluation/lbfgs.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <vector>

#include "launch/evaluation/line_search.h"
#include "launch/evaluation/rows.h"

namespace lodestone {

namespace {

/// A function along a line, and where it was asked last.
struct Line {
  const SmoothFunction& function;
  std::span<const double> from, direction;
  std::vector<double> x, gradient;

  LinePoint at(double step) {
    for (size_t i = 0; i < x.size(); ++i) x[i] = from[i] + step * direction[i];
    const double value = function(x, gradient);
    return {step, value, inner(gradient, direction)};
  }
};

struct Pair {
  std::vector<double> step, change;
  double scale;  // 1 / (step . change)
};

/// direction = - H gradient, by the two loops.
void descend(const std::deque<Pair>& pairs, std::span<const double> gradient, std::span<double> direction) {
  const size_t n = gradient.size();
  for (size_t i = 0; i < n; ++i) direction[i] = -gradient[i];
  std::vector<double> weight(pairs.size());
  for (size_t k = pairs.size(); k-- > 0;) {
    weight[k] = pairs[k].scale * inner(pairs[k].step, direction);
    for (size_t i = 0; i < n; ++i) direction[i] -= weight[k] * pairs[k].change[i];
  }
  if (!pairs.empty()) {
    const Pair& last = pairs.back();
    const double scale = 1 / (last.scale * inner(last.change, last.change));
    for (double& d : direction) d *= scale;
  }
  for (size_t k = 0; k < pairs.size(); ++k) {
    const double back = pairs[k].scale * inner(pairs[k].change, direction);
    for (size_t i = 0; i < n; ++i) direction[i] += (weight[k] - back) * pairs[k].step[i];
  }
}

double largest(std::span<const double> values) {
  double most = 0;
  for (const double v : values) most = std::max(most, std::abs(v));
  return most;
}

}  // namespace

LbfgsResult minimise(const SmoothFunction& function, std::span<double> x, const LbfgsSettings& settings) {
  const size_t n = x.size();
  std::vector<double> gradient(n), direction(n);
  std::deque<Pair> pairs;
  LbfgsResult result{.value = function(x, gradient)};
  Line line{function, x, direction, std::vector<double>(n), std::vector<double>(n)};
  while (largest(gradient) > settings.gradient_tolerance) {
    if (result.iterations == settings.most_iterations) return result;
    descend(pairs, gradient, direction);
    const LinePoint start{0, result.value, inner(gradient, direction)};
    const double first = result.iterations == 0 ? 1 / std::sqrt(inner(gradient, gradient)) : 1;
    const LinePoint end = start.slope < 0 ? search_line([&](double step) { return line.at(step); }, start, first) : start;
    if (end.step == 0) {
      if (pairs.empty()) return result;
      pairs.clear();  // once more, along the gradient
      continue;
    }
    Pair pair{std::vector<double>(n), std::vector<double>(n), 0};
    for (size_t i = 0; i < n; ++i) {
      pair.step[i] = line.x[i] - x[i];
      pair.change[i] = line.gradient[i] - gradient[i];
    }
    constexpr double rounding = std::numeric_limits<double>::epsilon();
    if (const double product = inner(pair.step, pair.change); product > -rounding * start.slope * end.step) {
      pair.scale = 1 / product;
      pairs.push_back(std::move(pair));
      if (std::ssize(pairs) > settings.memory) pairs.pop_front();
    }
    const double before = result.value;
    result.value = end.value;
    ++result.iterations;
    std::ranges::copy(line.x, x.begin());
    gradient = line.gradient;
    if (before - end.value <= settings.least_decrease * std::max({std::abs(before), std::abs(end.value), 1.0})) break;
  }
  result.converged = true;
  return result;
}

}  // namespace lodestone
