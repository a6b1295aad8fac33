// LogSum: the logarithm of a sum of exponentials, added up term by term without overflow or underflow.
#pragma once

#include <cmath>
#include <limits>

namespace lodestone {

/// value() = log(exp(x1) + exp(x2) + ...) of the terms added so far, -infinity for none. A term may be -infinity.
class LogSum {
 public:
  void add(double x) {
    if (x == -std::numeric_limits<double>::infinity()) return;
    if (x <= largest_) {
      sum_ += std::exp(x - largest_);
    } else {
      sum_ = sum_ * std::exp(largest_ - x) + 1;
      largest_ = x;
    }
  }
  double value() const { return largest_ + std::log(sum_); }

 private:
  double largest_ = -std::numeric_limits<double>::infinity(), sum_ = 0;  // exp(largest_) * sum_ is the sum
};

}  // namespace lodestone
