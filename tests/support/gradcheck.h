// Checks an analytic gradient against central differences, in double.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <span>
#include <vector>

namespace lodestone::test {

/// For f in double, (f(x+h) - f(x-h)) / 2h differs from f' by f''' h^2 / 6 (truncation) and about eps |f| / h (rounding).
/// With f and its derivatives of order 1 and h = 1e-5 these are 2e-11 and 2e-11; a chain of layers with derivatives of order
/// 100 gives 2e-9. A wrong gradient is wrong in its first digits.
inline constexpr double gradcheck_step = 1e-5;
inline constexpr double gradcheck_tolerance = 2e-8;

/// Compares gradient[i] with the central difference of `loss` in values[i], for every `stride`-th i. Errors are measured against
/// the largest component, and reported with their index and both values.
inline void expect_gradient(const char* name, std::span<double> values, std::span<const double> gradient,
                            const std::function<double()>& loss, size_t stride = 1) {
  ASSERT_EQ(values.size(), gradient.size()) << name;
  double scale = 1e-3;
  for (const double g : gradient) scale = std::max(scale, std::abs(g));
  int wrong = 0;
  for (size_t i = 0; i < values.size() && wrong < 5; i += stride) {
    const double kept = values[i];
    values[i] = kept + gradcheck_step;
    const double up = loss();
    values[i] = kept - gradcheck_step;
    const double down = loss();
    values[i] = kept;
    const double numeric = (up - down) / (2 * gradcheck_step);
    if (!(std::abs(numeric - gradient[i]) <= gradcheck_tolerance * scale)) {
      ++wrong;
      ADD_FAILURE() << name << "[" << i << "]: backward gives " << gradient[i] << ", central difference " << numeric;
    }
  }
}

/// Compares <gradient, direction> with the central difference of `loss` along `direction`.
inline void expect_directional(const char* name, std::span<double> values, std::span<const double> gradient,
                               std::span<const double> direction, const std::function<double()>& loss) {
  const std::vector<double> kept(values.begin(), values.end());
  const auto at = [&](double h) {
    for (size_t i = 0; i < values.size(); ++i) values[i] = kept[i] + h * direction[i];
    const double f = loss();
    std::copy(kept.begin(), kept.end(), values.begin());
    return f;
  };
  const double numeric = (at(gradcheck_step) - at(-gradcheck_step)) / (2 * gradcheck_step);
  double analytic = 0, size = 0;
  for (size_t i = 0; i < gradient.size(); ++i) {
    analytic += gradient[i] * direction[i];
    size += std::abs(gradient[i] * direction[i]);
  }
  EXPECT_NEAR(analytic, numeric, gradcheck_tolerance * std::max(size, 1e-3)) << name;
}

}  // namespace lodestone::test
