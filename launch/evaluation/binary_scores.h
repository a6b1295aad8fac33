// How well scores tell pairs that belong together from those that do not: pair classification as MTEB defines it.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <string_view>

namespace lodestone {

/// Which scores say that a pair belongs together.
enum class Nearer : uint8_t { higher, lower };

/// NaN thresholds: no threshold lies between two scores.
struct BinaryScores {
  double accuracy = 0, accuracy_threshold = std::nan("");  // the best accuracy that a threshold reaches
  double f1 = 0, f1_threshold = std::nan("");              // the best F1,
  double precision = 0, recall = 0;                        // and what they are there
  double average_precision = 0;
};

/// As MTEB 2's pair classification: a threshold is the middle of two neighbouring scores that differ, so one that takes all pairs or none
/// is never tried, and equal scores are never divided. Of several that are as good the first counts, from the nearest pair on. labels [n]:
/// 1 belongs together, 0 does not. Throws Error (internal) on lengths that differ, other labels or a score that is NaN.
BinaryScores binary_scores(std::span<const double> scores, std::span<const uint8_t> labels, Nearer nearer);

/// Sum over distinct scores, from the nearest, of precision times the gain in recall: equal scores enter together, so their order does not
/// count (scikit-learn's average_precision_score). 0 without a pair that belongs together.
double average_precision(std::span<const double> scores, std::span<const uint8_t> labels, Nearer nearer);

/// How near two vectors are, in the four ways of MTEB and sentence-transformers.
struct Nearness {
  double cosine = 0, dot = 0, manhattan = 0, euclidean = 0;
};
/// Of vectors of one length, added up in f64. The cosine with a zero vector is 0.
Nearness nearness(std::span<const float> x, std::span<const float> y);

}  // namespace lodestone
