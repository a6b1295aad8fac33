#include "launch/evaluation/class_scores.h"

#include <map>
#include <numeric>

#include "core/error.h"
#include "launch/evaluation/binary_scores.h"
#include "launch/evaluation/numpy_random.h"

namespace lodestone {

namespace {

struct Counts {
  double expected = 0, predicted = 0, right = 0;
};

double share(double part, double all) { return all > 0 ? part / all : 0; }

/// Average precision where exactly two classes are expected, else NaN.
double binary_precision(std::span<const int64_t> expected, std::span<const int64_t> predicted, const std::map<int64_t, Counts>& classes) {
  int64_t kinds = 0, positive = 0;
  for (const auto& [name, counts] : classes)
    if (counts.expected > 0) {
      ++kinds;
      positive = name;
    }
  if (kinds != 2) return std::nan("");
  std::vector<double> scores;
  std::vector<uint8_t> labels;
  for (size_t i = 0; i < expected.size(); ++i) {
    scores.push_back(predicted[i] == positive ? 1 : 0);
    labels.push_back(expected[i] == positive ? 1 : 0);
  }
  return average_precision(scores, labels, Nearer::higher);
}

}  // namespace

ClassScores class_scores(std::span<const int64_t> expected, std::span<const int64_t> predicted) {
  LODE_CHECK(expected.size() == predicted.size() && !expected.empty(), expected.size(), " labels and ", predicted.size(), " predictions");
  std::map<int64_t, Counts> classes;
  for (size_t i = 0; i < expected.size(); ++i) {
    ++classes[expected[i]].expected;
    ++classes[predicted[i]].predicted;
    if (expected[i] == predicted[i]) ++classes[expected[i]].right;
  }
  const auto n = static_cast<double>(expected.size()), kinds = static_cast<double>(classes.size());
  ClassScores scores;
  for (const auto& [name, counts] : classes) {
    const double precision = share(counts.right, counts.predicted), recall = share(counts.right, counts.expected);
    const double f1 = share(2 * counts.right, counts.predicted + counts.expected), weight = counts.expected / n;
    scores.accuracy += counts.right / n;
    scores.f1 += f1 / kinds;
    scores.f1_weighted += f1 * weight;
    scores.precision += precision / kinds;
    scores.precision_weighted += precision * weight;
    scores.recall += recall / kinds;
    scores.recall_weighted += recall * weight;
  }
  scores.average_precision = binary_precision(expected, predicted, classes);
  return scores;
}

std::vector<std::vector<int64_t>> few_shot_samples(std::span<const int64_t> labels, int64_t per_label, int64_t experiments, uint32_t seed) {
  std::vector<int64_t> order(labels.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::vector<std::vector<int64_t>> samples;
  for (int64_t e = 0; e < experiments; ++e) {
    NumpyRandom(seed).shuffle(order);
    std::map<int64_t, int64_t> drawn;
    std::vector<int64_t>& sample = samples.emplace_back();
    for (const int64_t i : order)
      if (int64_t& count = drawn[labels[static_cast<size_t>(i)]]; count < per_label) {
        ++count;
        sample.push_back(i);
      }
  }
  return samples;
}

}  // namespace lodestone
