#include "launch/evaluation/line_search.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace lodestone {

namespace {

constexpr double decrease = 1e-3, curvature = 0.9, least_width = 0.1;
constexpr double largest_step = 1e10;
constexpr int most_trials = 50;

/// What a step is chosen from: the best point so far, the other end of the interval that holds a minimum, and whether there is such an end.
struct Interval {
  LinePoint best, end;
  bool closed = false;
};

/// The part of the cubic through two points that both of its formulas share.
struct Cubic {
  double theta, gamma;
  Cubic(const LinePoint& a, const LinePoint& b) {
    theta = 3 * (a.value - b.value) / (b.step - a.step) + a.slope + b.slope;
    const double scale = std::max({std::abs(theta), std::abs(a.slope), std::abs(b.slope)});
    gamma = scale * std::sqrt(std::max(0.0, theta / scale * (theta / scale) - a.slope / scale * (b.slope / scale)));
  }
};

/// Where the cubic through two points is least, as a share of the way from `from` to `to`.
double cubic_share(const LinePoint& from, const LinePoint& to) {
  const Cubic c(from, to);
  const double gamma = to.step < from.step ? -c.gamma : c.gamma;
  return (gamma - from.slope + c.theta) / (gamma - from.slope + gamma + to.slope);
}

/// Where the line through two slopes is zero.
double secant(const LinePoint& best, const LinePoint& here) {
  return here.step + here.slope / (here.slope - best.slope) * (best.step - here.step);
}

/// The step where slopes have one sign and fall: the cubic may have no minimum behind `here`, and then the limit is taken.
double step_of_falling_slope(const Interval& in, const LinePoint& here, double least, double most) {
  const LinePoint& best = in.best;
  const Cubic c(best, here);
  const double gamma = here.step > best.step ? -c.gamma : c.gamma;
  const double share = (gamma - here.slope + c.theta) / (gamma + (best.slope - here.slope) + gamma);
  const double cubic = share < 0 && gamma != 0 ? here.step + share * (best.step - here.step) : here.step > best.step ? most : least;
  const double line = secant(best, here);
  const bool cubic_nearer = std::abs(cubic - here.step) < std::abs(line - here.step);
  if (!in.closed) return std::clamp(std::abs(cubic - here.step) > std::abs(line - here.step) ? cubic : line, least, most);
  const double step = cubic_nearer ? cubic : line, limit = here.step + 0.66 * (in.end.step - here.step);
  return here.step > best.step ? std::min(limit, step) : std::max(limit, step);
}

/// The next step to try after `here`, between `least` and `most`; narrows the interval (Moré and Thuente's four cases).
double next_step(Interval& in, const LinePoint& here, double least, double most) {
  const LinePoint& best = in.best;
  const bool turned = here.slope * (best.slope / std::abs(best.slope)) < 0;
  double step;
  if (here.value > best.value) {
    const double cubic = best.step + cubic_share(best, here) * (here.step - best.step);
    const double parabola =
        best.step + best.slope / ((best.value - here.value) / (here.step - best.step) + best.slope) / 2 * (here.step - best.step);
    step = std::abs(cubic - best.step) < std::abs(parabola - best.step) ? cubic : cubic + (parabola - cubic) / 2;
    in.closed = true;
  } else if (turned) {
    const double cubic = here.step + cubic_share(here, best) * (best.step - here.step), line = secant(best, here);
    step = std::abs(cubic - here.step) > std::abs(line - here.step) ? cubic : line;
    in.closed = true;
  } else if (std::abs(here.slope) < std::abs(best.slope)) {
    step = step_of_falling_slope(in, here, least, most);
  } else if (in.closed) {
    step = here.step + cubic_share(here, in.end) * (in.end.step - here.step);
  } else {
    step = here.step > best.step ? most : least;
  }
  if (here.value > best.value) {
    in.end = here;
  } else {
    if (turned) in.end = best;
    in.best = here;
  }
  return step;
}

/// The point of the function less the line that the demanded decrease draws.
LinePoint less(const LinePoint& p, double slope) { return {p.step, p.value - p.step * slope, p.slope - slope}; }

}  // namespace

LinePoint search_line(const std::function<LinePoint(double step)>& at, const LinePoint& start, double first_step) {
  const double demanded = decrease * start.slope;
  Interval in{start, start};
  bool lowering = true;  // until a point is low enough and rises: the function less the demanded line is minimised
  double step = first_step, least = 0, most = 5 * first_step, width = largest_step, width_before = 2 * largest_step;
  for (int trial = 0; trial < most_trials; ++trial) {
    const LinePoint here = at(step);
    const double limit = start.value + step * demanded;
    if (lowering && here.value <= limit && here.slope >= 0) lowering = false;
    const bool narrow = in.closed && (step <= least || step >= most || most - least <= least_width * most);
    const bool found = here.value <= limit && std::abs(here.slope) <= -curvature * start.slope;
    const bool endless = step == largest_step && here.value <= limit && here.slope <= demanded;
    if (narrow || found || endless) return here;
    if (lowering && here.value <= in.best.value && here.value > limit) {
      Interval lowered{less(in.best, demanded), less(in.end, demanded), in.closed};
      step = next_step(lowered, less(here, demanded), least, most);
      in = {less(lowered.best, -demanded), less(lowered.end, -demanded), lowered.closed};
    } else {
      step = next_step(in, here, least, most);
    }
    if (in.closed) {
      if (std::abs(in.end.step - in.best.step) >= 0.66 * width_before) step = in.best.step + (in.end.step - in.best.step) / 2;
      width_before = width;
      width = std::abs(in.end.step - in.best.step);
      std::tie(least, most) = std::minmax(in.best.step, in.end.step);
    } else {
      least = step + 1.1 * (step - in.best.step);
      most = step + 4 * (step - in.best.step);
    }
    step = std::clamp(step, 0.0, largest_step);
    if (in.closed && (step <= least || step >= most || most - least <= least_width * most)) step = in.best.step;
  }
  return start;
}

}  // namespace lodestone
