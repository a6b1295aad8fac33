// Multinomial logistic regression with an L2 penalty, as scikit-learn's LogisticRegression.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "launch/evaluation/lbfgs.h"
#include "launch/evaluation/rows.h"

namespace lodestone {

struct LogisticSettings {
  double c = 1;                      // 1 / strength of the penalty
  int64_t most_iterations = 100;     //
  double gradient_tolerance = 1e-4;  // both as in scikit-learn
  int threads = 1;
};

/// What was learned. K classes have K rows of weights, two classes have one, whose score is the second's log-odds.
struct LogisticModel {
  std::vector<int64_t> classes;    // [K], ascending
  std::vector<double> weights;     // [K or 1,width]
  std::vector<double> intercepts;  // [K or 1], not penalised
  double objective = 0;            // mean over rows of -ln p(label|row), plus |weights|^2 / (2 c n)
  int64_t iterations = 0;
  bool converged = false;
};

/// Minimises the objective from zero by L-BFGS. labels [n] name the classes by any numbers. Does not depend on threads. Throws Error
/// (internal) when lengths differ or fewer than two classes are there.
LogisticModel fit_logistic(const Rows& rows, std::span<const int64_t> labels, const LogisticSettings& settings);

/// The class [n] of the largest score, the first of equal ones; of two classes the second where its log-odds are above 0.
std::vector<int64_t> predict(const LogisticModel& model, const Rows& rows, int threads);

}  // namespace lodestone
