// Scan: which documents may be among a query's best, by scores that are near the exact ones; and the exact ones.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "core/dtype.h"

namespace lodestone {

/// A bound for |approximate - exact| / (|x| |y|) of dot products of f32 vectors of E elements: products of f32 are added up in f32, in any
/// order, or elements are rounded to bf16 first and products added up in f32. With u = 2^-24 and v = 2^-8, the unit roundoffs of f32 and
/// bf16, the sum of E terms is off by at most g = E u / (1 - E u) times the sum of their absolute values, which |x| |y| bounds (Higham,
/// "Accuracy and Stability of Numerical Algorithms", 3.1; Cauchy and Schwarz); rounding both elements of a term first changes it by at most
/// 2 v + v^2. One u more is for the rounding of what is compared to f32.
double score_error(DType scanned, int64_t embedding);

/// <x, y> of f32 vectors in f64: products are exact, and added up in eight sums that are added up in their order.
double exact_dot(std::span<const float> x, std::span<const float> y);
/// The Euclidean norm in f64. Not finite where an element is not.
double exact_norm(std::span<const float> x);

/// Candidates of some queries. With a[k] the k-th best approximate score so far and e the error's bound, at least k documents are a[k] - e
/// or better, so what has less than a[k] - 2 e is none of the best k. All else is kept; where that becomes too much, since many lie closer
/// together than the bound, the kept ones are judged exactly, and with the exact score E of the k-th of them what has less than E - e is
/// none.
class Scan {
 public:
  struct Candidate {
    float score = 0;  // approximate
    int64_t document = 0;
  };
  /// Leaves of `kept` the best k of query q by exact scores, and returns the score of the last of them. Called for different queries at
  /// once.
  using Judge = std::function<double(size_t q, std::vector<Candidate>& kept)>;

  /// errors [queries]: the bound of each query's scores, absolute.
  Scan(int64_t best, std::span<const double> errors, Judge judge);

  /// Scores of documents [first, first + scores.size()) for query q, but not of `left_out`. Different queries may be offered at once.
  void offer(size_t q, std::span<const float> scores, int64_t first, int64_t left_out);
  /// What may be among the best of query q, in no order. Nothing may be offered any more.
  std::span<const Candidate> candidates(size_t q);

 private:
  struct Query {
    double error = 0;
    float floor = 0;  // what has less is none of the best
    size_t room = 0;  // the floor is raised when so many are kept
    std::vector<Candidate> kept{};
  };
  /// Raises the floor to what is known by now, and drops what lies below.
  void raise_floor(size_t q);

  size_t best_;
  Judge judge_;
  std::vector<Query> queries_;
};

}  // namespace lodestone
