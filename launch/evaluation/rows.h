// A view of vectors that stand one below the other.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>

#include "core/error.h"

namespace lodestone {

/// Vectors [n,width] in f64, which the owner keeps.
struct Rows {
  std::span<const double> values;
  int64_t width = 0;
  int64_t count() const { return width > 0 ? std::ssize(values) / width : 0; }
  std::span<const double> row(int64_t i) const { return values.subspan(static_cast<size_t>(i * width), static_cast<size_t>(width)); }
};

/// Throws Error (numerical, F44) with the row of the first value that is not finite; `what` names the rows: "sentences 1".
template <class T>
void require_finite_rows(std::span<const T> values, int64_t width, const char* what) {
  for (size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]))
      throw Error(ExitCode::numerical, "F44", cat("an embedding of ", what, " is not finite"),
                  "the model has diverged; evaluate an earlier checkpoint")
          .at("row", static_cast<int64_t>(i) / width + 1);
}

/// x . y of vectors of one length. Its order of additions is fixed when the program is built.
inline double inner(std::span<const double> x, std::span<const double> y) {
  double sum = 0;
  const size_t n = x.size();
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < n; ++i) sum += x[i] * y[i];
  return sum;
}

/// |x - y|^2 of vectors of one length; likewise.
inline double squared_distance(std::span<const double> x, std::span<const double> y) {
  double sum = 0;
  const size_t n = x.size();
#pragma omp simd reduction(+ : sum)
  for (size_t i = 0; i < n; ++i) sum += (x[i] - y[i]) * (x[i] - y[i]);
  return sum;
}

}  // namespace lodestone
