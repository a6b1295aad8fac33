// How far rounding alone may move the result of a layer, a model or a loss: what their tolerances are derived from.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "tests/support/tiny_model.h"

namespace lodestone::test {

inline double norm(std::span<const double> x) { return std::sqrt(dot(x, x)); }

/// |a - b| in the Euclidean norm.
inline double distance_between(std::span<const double> a, std::span<const double> b) {
  double squares = 0;
  for (size_t i = 0; i < a.size(); ++i) squares += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(squares);
}

/// The largest relative error of one rounding.
inline double unit_of(DType compute) { return compute == DType::f64 ? 0x1p-53 : compute == DType::bf16 ? 0x1p-8 : 0x1p-24; }

inline constexpr double beside_spread = 0x1p-20;

/// `inputs`, each changed by a share of itself that is drawn, by `name`, from [-beside_spread, beside_spread).
inline std::vector<double> beside(std::span<const double> inputs, const char* name = "beside") {
  std::vector<double> changed(inputs.size());
  fill_uniform(std::span(changed), name, beside_spread);
  for (size_t i = 0; i < inputs.size(); ++i) changed[i] = inputs[i] * (1 + changed[i]);
  return changed;
}

/// How far from `exact`, in the Euclidean norm, a result lies that was computed in `compute`: condition * unit * sqrt(terms) * sqrt(steps).
/// Arithmetic that rounds computes exactly what it would of slightly other inputs. How much more than they the result changes, its
/// condition, is measured: `there` is the result in f64 of inputs that are beside() those of `exact`, which for a model are all of its
/// parameters, so that every layer is disturbed, and what backward starts from, whose parts may cancel; for a loss the vectors. It is at
/// least 1, the result's own rounding. The unit is 2^-24, in f64 2^-53. `terms` are those of the longest sum that further steps follow: its
/// errors grow as a random walk, by the root. `steps` are the rounded ones, forward and backward, behind one input and before the next,
/// whose errors add like independent ones: of a model up to 16 (scores, their softmax and its product with the values are the most). The
/// last sum of a weight's gradient, over all tokens, adds the root of its terms once and without the condition: less than those 16 steps.
inline double rounding_of(std::span<const double> exact, std::span<const double> there, int64_t terms, DType compute = DType::f32,
                          int64_t steps = 16) {
  const double change = distance_between(there, exact) * std::sqrt(3.0) / beside_spread;  // by inputs that differ by 1 in the mean square
  return unit_of(compute) * std::sqrt(static_cast<double>(terms * steps)) * std::max(norm(exact), change);
}

/// The same of a result in bf16, where sums run in f32, so that only what is stored rounds: by a share of itself of 2^-8 at most, which is
/// spread as those of beside() are, so that the root of its mean square is less by that of 3. Four such steps at most lie behind a weight
/// and before the next one: the weight's own copy, its product, the sum with the residual, and LayerNorm, GELU or attention's vector.
inline double stored_rounding_of(std::span<const double> exact, std::span<const double> there) {
  return rounding_of(exact, there, 1, DType::bf16, 4) / std::sqrt(3.0);
}

}  // namespace lodestone::test
