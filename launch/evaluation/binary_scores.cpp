#include "launch/evaluation/binary_scores.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "core/error.h"

namespace lodestone {

namespace {

/// Pairs from the nearest on.
struct Ranked {
  double score;
  bool same;
};

std::vector<Ranked> ranked(std::span<const double> scores, std::span<const uint8_t> labels, Nearer nearer) {
  LODE_CHECK(scores.size() == labels.size(), scores.size(), " scores and ", labels.size(), " labels");
  std::vector<Ranked> pairs(scores.size());
  for (size_t i = 0; i < scores.size(); ++i) {
    LODE_CHECK(!std::isnan(scores[i]), "score ", i, " is NaN");
    LODE_CHECK(labels[i] <= 1, "label ", i, " is ", int{labels[i]});
    pairs[i] = {scores[i], labels[i] == 1};
  }
  std::stable_sort(pairs.begin(), pairs.end(),
                   [&](const Ranked& a, const Ranked& b) { return nearer == Nearer::higher ? a.score > b.score : a.score < b.score; });
  return pairs;
}

/// Calls visit(pairs taken, of them belonging together, index of the last one) where the score changes behind it, the last pair included.
template <class Visit>
void visit_thresholds(std::span<const Ranked> pairs, Visit visit) {
  double same = 0;
  for (size_t i = 0; i < pairs.size(); ++i) {
    same += pairs[i].same;
    if (i + 1 == pairs.size() || pairs[i].score != pairs[i + 1].score) visit(static_cast<double>(i + 1), same, i);
  }
}

double count_same(std::span<const Ranked> pairs) {
  return static_cast<double>(std::count_if(pairs.begin(), pairs.end(), [](const Ranked& pair) { return pair.same; }));
}

double average_precision(std::span<const Ranked> pairs) {
  const double all_same = count_same(pairs);
  double sum = 0, before = 0;
  visit_thresholds(pairs, [&](double taken, double same, size_t) {
    sum += same / taken * (same - before);
    before = same;
  });
  return all_same > 0 ? sum / all_same : 0;
}

}  // namespace

double average_precision(std::span<const double> scores, std::span<const uint8_t> labels, Nearer nearer) {
  return average_precision(ranked(scores, labels, nearer));
}

BinaryScores binary_scores(std::span<const double> scores, std::span<const uint8_t> labels, Nearer nearer) {
  const std::vector<Ranked> pairs = ranked(scores, labels, nearer);
  const auto n = static_cast<double>(pairs.size());
  const double all_same = count_same(pairs);
  BinaryScores best;
  visit_thresholds(pairs, [&](double taken, double same, size_t last) {
    if (last + 1 == pairs.size()) return;
    const double threshold = (pairs[last].score + pairs[last + 1].score) / 2;
    const double accuracy = (same + (n - all_same) - (taken - same)) / n;
    if (accuracy > best.accuracy) {
      best.accuracy = accuracy;
      best.accuracy_threshold = threshold;
    }
    if (same == 0) return;
    const double precision = same / taken, recall = same / all_same, f1 = 2 * precision * recall / (precision + recall);
    if (f1 > best.f1) {
      best.f1 = f1;
      best.precision = precision;
      best.recall = recall;
      best.f1_threshold = threshold;
    }
  });
  best.average_precision = average_precision(pairs);
  return best;
}

Nearness nearness(std::span<const float> x, std::span<const float> y) {
  LODE_CHECK(x.size() == y.size(), "vectors of ", x.size(), " and ", y.size());
  double xx = 0, yy = 0, xy = 0, manhattan = 0, squares = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double a = x[i], b = y[i];
    xx += a * a;
    yy += b * b;
    xy += a * b;
    manhattan += std::abs(a - b);
    squares += (a - b) * (a - b);
  }
  const double lengths = std::sqrt(xx) * std::sqrt(yy);
  return {.cosine = lengths > 0 ? xy / lengths : 0, .dot = xy, .manhattan = manhattan, .euclidean = std::sqrt(squares)};
}

}  // namespace lodestone
