// Products of queries with their own groups of passages, row by row: what the reference runs at once and the fast backend by threads.
#pragma once

#include <algorithm>

#include "core/cpu/reference/views.h"

namespace lodestone::reference {

/// dots(i,g) = <rows(i), columns(i G + g)> of the rows [begin, end), added up in double, one after the other.
template <class T>
void group_dots(Matrix<const T> rows, Matrix<const T> columns, Matrix<double> dots, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i)
    for (int64_t g = 0; g < dots.columns; ++g) {
      const T *a = rows.row(i), *b = columns.row(i * dots.columns + g);
      double sum = 0;
      for (int64_t e = 0; e < rows.columns; ++e) sum += static_cast<double>(a[e]) * static_cast<double>(b[e]);
      dots(i, g) = sum;
    }
}

/// Operands of the way back.
template <class T>
struct GroupDotsBackward {
  Matrix<const double> d;
  Matrix<const T> rows, columns;
  Matrix<T> d_rows, d_columns;

  /// d_rows(i) = sum_g d(i,g) columns(i G + g), d_columns(i G + g) = d(i,g) rows(i), of the rows [begin, end).
  void run(int64_t begin, int64_t end) const {
    const int64_t width = rows.columns;
    for (int64_t i = begin; i < end; ++i) {
      T* const dx = d_rows.row(i);
      std::fill_n(dx, width, T{0});
      for (int64_t j = i * d.columns; j < (i + 1) * d.columns; ++j) {
        const auto ds = static_cast<T>(d[j]);
        const T *x = rows.row(i), *y = columns.row(j);
        T* const dy = d_columns.row(j);
        for (int64_t e = 0; e < width; ++e) dx[e] += ds * y[e];
        for (int64_t e = 0; e < width; ++e) dy[e] = ds * x[e];
      }
    }
  }
};

}  // namespace lodestone::reference
