// How far rounding alone may move a loss of given vectors and its gradient: what the tolerances of losses in f32 are derived from.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/support/loss_problem.h"
#include "tests/support/rounding.h"

namespace lodestone::test {

/// The gradient of queries and passages.
inline std::vector<double> gradient_of(const LossAnswer& answer) {
  std::vector<double> all = answer.d_queries;
  all.insert(all.end(), answer.d_passages.begin(), answer.d_passages.end());
  return all;
}

/// What a loss computes in besides similarities and gradients of vectors, and how many rounded steps those take.
struct LossSteps {
  DType own = DType::f32;  // f64: a loss of gold or teacher scores, from the similarities to their gradients
  int64_t forward = 4;     // a vector's rounding, length, quotient and similarity
  int64_t both = 16;       // and backward
};

/// The answer in f64 of one process, and how far from it one in f32 may lie, however its rows lie on ranks.
struct RoundedAnswer {
  LossAnswer exact;
  double loss = 0, gradient = 0;  // absolute; the gradient's is of its Euclidean norm
};

/// By rounding.h. The longest sum that further steps follow is a similarity's, over the width. The gradient's condition is measured, that
/// of the loss is known: errors of elements that are drawn, of a unit of each, change it by a unit of the norm of each element times its
/// gradient. The own steps of a loss in f32 (scale, exponential, sum and logarithm) round it once more, by the root of four.
inline RoundedAnswer rounded_answer(Loss& loss, const LossProblem& problem, const LossSteps& steps = {}) {
  LossProblem moved = problem;
  moved.queries = beside(problem.queries, "queries");
  moved.passages = beside(problem.passages, "passages");
  RoundedAnswer rounded{.exact = answer_alone(loss, problem)};
  const std::vector<double> gradient = gradient_of(rounded.exact);
  std::vector<double> change = problem.queries;
  change.insert(change.end(), problem.passages.begin(), problem.passages.end());
  for (size_t i = 0; i < change.size(); ++i) change[i] *= gradient[i];
  const double own = steps.own == DType::f32 ? 2 * std::abs(rounded.exact.loss) : 0;
  rounded.loss = unit_of(DType::f32) * (std::sqrt(static_cast<double>(problem.width * steps.forward)) * norm(change) + own);
  rounded.gradient = rounding_of(gradient, gradient_of(answer_alone(loss, moved)), problem.width, DType::f32, steps.both);
  return rounded;
}

/// `got`, in f32, lies no farther from the exact answer than rounding may move it.
inline void expect_rounded(const LossAnswer& got, const RoundedAnswer& expected, const std::string& what) {
  EXPECT_LE(std::abs(got.loss - expected.exact.loss), expected.loss) << what;
  EXPECT_LE(distance_between(gradient_of(got), gradient_of(expected.exact)), expected.gradient) << what;
}

}  // namespace lodestone::test
