// How good predicted classes are, and which rows a classifier learns from: classification as MTEB defines it.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace lodestone {

/// As scikit-learn: F1, precision and recall of each class that is expected or predicted anywhere, 0 where one has no denominator. Plain:
/// their mean; weighted: each by how often the class is expected.
struct ClassScores {
  double accuracy = 0;
  double f1 = 0, f1_weighted = 0;
  double precision = 0, precision_weighted = 0;
  double recall = 0, recall_weighted = 0;
  double average_precision = std::nan("");  // of the predictions as scores 0 and 1; NaN unless two classes are expected
};

/// expected, predicted [n]: classes by any numbers; of two classes the greater is the positive one. Throws Error (internal) when lengths
/// differ or there is none.
ClassScores class_scores(std::span<const int64_t> expected, std::span<const int64_t> predicted);

/// For each experiment the places of up to `per_label` labels of each class, in the order drawn: rows are shuffled once more before each by
/// NumPy's RandomState(seed), whose shuffle is the same each time, and the first of each class count (MTEB's sampling, draw for draw).
std::vector<std::vector<int64_t>> few_shot_samples(std::span<const int64_t> labels, int64_t per_label, int64_t experiments, uint32_t seed);

}  // namespace lodestone
