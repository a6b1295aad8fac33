#include "launch/evaluation/lbfgs.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <vector>

#include "launch/evaluation/rows.h"

namespace lodestone {

namespace {

constexpr double decrease = 1e-3, curvature = 0.9;  // of the Wolfe conditions, as L-BFGS-B has them
constexpr int most_trials = 50;

/// A function along a line, and where it was asked last.
struct Line {
  const SmoothFunction& function;
  std::span<const double> from, direction;
  std::vector<double> x, gradient;

  struct Point {
    double step = 0, value = 0, slope = 0;
  };
  Point at(double step) {
    for (size_t i = 0; i < x.size(); ++i) x[i] = from[i] + step * direction[i];
    const double value = function(x, gradient);
    return {step, value, inner(gradient, direction)};
  }
};

/// Where the cubic through both points with their slopes is least, kept a tenth away from them; their middle where it has no minimum.
double between(const Line::Point& a, const Line::Point& b) {
  const double width = b.step - a.step, d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.step - b.step);
  const double square = d1 * d1 - a.slope * b.slope, d2 = std::copysign(std::sqrt(std::max(square, 0.0)), width);
  const double step = b.step - width * (b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2);
  const auto [low, high] = std::minmax(a.step, b.step);
  const double margin = 0.1 * (high - low);
  return square >= 0 && std::isfinite(step) ? std::clamp(step, low + margin, high - margin) : (low + high) / 2;
}

/// What the strong Wolfe conditions say of points of a line that begins at `start`.
struct Wolfe {
  Line::Point start;
  bool too_high(const Line::Point& p) const { return !(p.value <= start.value + decrease * p.step * start.slope); }
  bool flat(const Line::Point& p) const { return std::abs(p.slope) <= -curvature * start.slope; }
};

/// Closes in on such a step between `low`, the lowest point so far, and `high`. Ends at the lowest point where it finds none.
Line::Point zoom(Line& line, const Wolfe& wolfe, Line::Point low, Line::Point high) {
  for (int trial = 0; trial < most_trials; ++trial) {
    const Line::Point here = line.at(between(low, high));
    if (wolfe.too_high(here) || here.value >= low.value) {
      high = here;
      continue;
    }
    if (wolfe.flat(here)) return here;
    if (here.slope * (high.step - low.step) >= 0) high = low;
    low = here;
  }
  return low.step > 0 ? line.at(low.step) : low;
}

/// A step that meets the strong Wolfe conditions, with `line` left there; step 0 when no step lowers the value.
Line::Point search(Line& line, const Line::Point& start, double first) {
  const Wolfe wolfe{start};
  Line::Point before = start;
  double step = first;
  for (int trial = 0; trial < most_trials; ++trial, step *= 2) {
    const Line::Point here = line.at(step);
    if (wolfe.too_high(here) || (before.step > 0 && here.value >= before.value)) return zoom(line, wolfe, before, here);
    if (wolfe.flat(here)) return here;
    if (here.slope >= 0) return zoom(line, wolfe, here, before);
    before = here;
  }
  return before;
}

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
    const Line::Point start{0, result.value, inner(gradient, direction)};
    const double first = pairs.empty() ? std::min(1.0, 1 / std::sqrt(inner(gradient, gradient))) : 1;
    const Line::Point end = search(line, start, first);
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
    if (const double product = inner(pair.step, pair.change); product > 0) {
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
