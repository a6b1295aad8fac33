// How far to go along a line: Moré and Thuente's search for a step that meets the strong Wolfe conditions.
#pragma once

#include <functional>

namespace lodestone {

/// What is known of a function at one step along a line.
struct LinePoint {
  double step = 0, value = 0, slope = 0;
};

/// A step whose value is at most that of `start` (step 0, slope below 0) plus 1e-3 of what the slope there promises, and whose slope is at
/// most 0.9 of that one; or where none is to be told from rounding, the last that was tried. Step 0 after 50 trials. `at` is asked for the
/// step that is returned last. Moré and Thuente, ACM TOMS 20 (1994), with the constants of L-BFGS-B (Zhu, Byrd, Lu and Nocedal, ACM TOMS
/// 23, 1997), so that the same function is asked for the same steps.
LinePoint search_line(const std::function<LinePoint(double step)>& at, const LinePoint& start, double first_step);

}  // namespace lodestone
