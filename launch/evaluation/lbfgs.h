// L-BFGS: the minimum of a smooth function of many variables.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

namespace lodestone {

/// The value at x [n], and its gradient [n] in `gradient` (=).
using SmoothFunction = std::function<double(std::span<const double> x, std::span<double> gradient)>;

struct LbfgsSettings {
  int64_t memory = 10;  // pairs of steps and gradient differences that are kept
  int64_t most_iterations = 100;
  double gradient_tolerance = 1e-4;  // ends when no component of the gradient is larger
  double least_decrease = 1.5e-14;   // ends when an iteration lowers the value by less, relative to max(|value|, 1)
};

struct LbfgsResult {
  double value = 0;
  int64_t iterations = 0;
  bool converged = false;  // false: most_iterations came first, or no step lowered the value any more
};

/// Minimises from x [n] on, in place, by the two-loop recursion (Nocedal and Wright, Numerical Optimization, algorithm 7.4) and
/// search_line. The steps are those of L-BFGS-B without bounds, as scipy has it, up to rounding: where both stop early they stop at one
/// place.
LbfgsResult minimise(const SmoothFunction& function, std::span<double> x, const LbfgsSettings& settings);

}  // namespace lodestone
