#include "core/group_losses.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/log_sum.h"

namespace lodestone {

namespace {

using Row = std::span<const double>;

double log_sum_exp(Row x, double scale) {
  LogSum sum;
  for (const double v : x) sum.add(scale * v);
  return sum.value();
}

/// log(1 + exp(x)).
double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }
double sigmoid(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }

void check_shapes(Row scores, int64_t group, std::span<double> d_scores) {
  LODE_CHECK(group > 0 && scores.size() % static_cast<size_t>(group) == 0 && d_scores.size() == scores.size(),
             "group loss: ", scores.size(), " scores and ", d_scores.size(), " gradients for groups of ", group);
}

/// Adds up row_loss(row's scores, row's first place, row's gradient), weighted; the gradient is weighted by the callee.
template <class RowLoss>
double sum_rows(Row scores, int64_t group, double weight, std::span<double> d_scores, const RowLoss& row_loss) {
  check_shapes(scores, group, d_scores);
  const auto width = static_cast<size_t>(group);
  double loss = 0;
  for (size_t begin = 0; begin < scores.size(); begin += width)
    loss += row_loss(scores.subspan(begin, width), begin, d_scores.subspan(begin, width));
  return weight * loss;
}

}  // namespace

double group_cross_entropy(std::span<const double> scores, int64_t group, double weight, std::span<double> d_scores) {
  return sum_rows(scores, group, weight, d_scores, [&](Row s, size_t, std::span<double> ds) {
    const double sum = log_sum_exp(s, 1);
    for (size_t g = 0; g < s.size(); ++g) ds[g] += weight * (std::exp(s[g] - sum) - (g == 0 ? 1.0 : 0.0));
    return sum - s[0];
  });
}

double group_binary_cross_entropy(std::span<const double> scores, int64_t group, double weight, std::span<double> d_scores) {
  const double share = 1 / static_cast<double>(group);
  return sum_rows(scores, group, weight, d_scores, [&](Row s, size_t, std::span<double> ds) {
    double loss = 0;
    for (size_t g = 0; g < s.size(); ++g) {
      loss += share * softplus(g == 0 ? -s[g] : s[g]);
      ds[g] += weight * share * (sigmoid(s[g]) - (g == 0 ? 1.0 : 0.0));
    }
    return loss;
  });
}

double group_distillation(std::span<const double> scores, const Teacher& teacher, int64_t group, Entropy entropy, double weight,
                          std::span<double> d_scores) {
  LODE_CHECK(teacher.scores.size() == scores.size() && teacher.temperature > 0, "group distillation: ", teacher.scores.size(),
             " teacher scores of temperature ", teacher.temperature, " for ", scores.size(), " scores");
  const double sharpness = 1 / teacher.temperature;
  return sum_rows(scores, group, weight, d_scores, [&](Row s, size_t begin, std::span<double> ds) {
    const Row t = teacher.scores.subspan(begin, s.size());
    const double student_sum = log_sum_exp(s, 1), teacher_sum = log_sum_exp(t, sharpness);
    double loss = 0;
    for (size_t g = 0; g < s.size(); ++g) {
      const double log_p = s[g] - student_sum, log_w = sharpness * t[g] - teacher_sum, w = std::exp(log_w);
      if (w > 0) loss += w * ((entropy == Entropy::removed ? log_w : 0.0) - log_p);
      ds[g] += weight * (std::exp(log_p) - w);
    }
    return loss;
  });
}

double group_margin_mse(std::span<const double> scores, std::span<const double> teacher, int64_t group, double weight,
                        std::span<double> d_scores) {
  const auto width = static_cast<size_t>(group);
  LODE_CHECK(group >= 2 && scores.size() % width == 0 && teacher.size() == scores.size() && d_scores.size() == scores.size(),
             "margin mse: ", scores.size(), " scores and ", teacher.size(), " teacher scores for groups of ", group);
  const double share = weight / static_cast<double>(group - 1);
  double loss = 0;
  for (size_t first = 0; first < scores.size(); first += width)
    for (size_t j = first + 1; j < first + width; ++j) {
      const double difference = (scores[first] - scores[j]) - (teacher[first] - teacher[j]);
      loss += difference * difference;
      d_scores[first] += 2 * share * difference;
      d_scores[j] -= 2 * share * difference;
    }
  return share * loss;
}

namespace {

/// What a loss is given.
struct Operands {
  std::span<const double> scores, teacher;
  int64_t group;
  double weight;
  std::span<double> d_scores;
};

double apply(const GroupCrossEntropy&, const Operands& o) { return group_cross_entropy(o.scores, o.group, o.weight, o.d_scores); }
double apply(const GroupBinaryCrossEntropy&, const Operands& o) {
  return group_binary_cross_entropy(o.scores, o.group, o.weight, o.d_scores);
}
double apply(const GroupTeacherEntropy& loss, const Operands& o) {
  return group_distillation(o.scores, {.scores = o.teacher, .temperature = loss.temperature}, o.group, loss.entropy, o.weight, o.d_scores);
}
double apply(const GroupMarginMse&, const Operands& o) { return group_margin_mse(o.scores, o.teacher, o.group, o.weight, o.d_scores); }

constexpr bool with_teacher(const GroupCrossEntropy&) { return false; }
constexpr bool with_teacher(const GroupBinaryCrossEntropy&) { return false; }
constexpr bool with_teacher(const GroupTeacherEntropy&) { return true; }
constexpr bool with_teacher(const GroupMarginMse&) { return true; }

}  // namespace

bool reads_teacher(const GroupLoss& loss) {
  return std::visit([](const auto& which) { return with_teacher(which); }, loss);
}

double group_loss(const GroupLoss& loss, std::span<const double> scores, std::span<const double> teacher, int64_t group, double weight,
                  std::span<double> d_scores) {
  return std::visit([&](const auto& which) { return apply(which, {scores, teacher, group, weight, d_scores}); }, loss);
}

CascadeLoss group_cascade(const CascadeRow& row, std::span<double> d_logits, std::span<double> terms) {
  const size_t group = row.logits.size();
  // From the worst candidate up: the logarithm of each one's denominator, kept where its gradient will stand.
  LogSum denominator;
  denominator.add(row.others);
  for (size_t k = group; k-- > 0;) {
    const auto g = static_cast<size_t>(row.order[k]);
    denominator.add(row.logits[g]);
    d_logits[g] = denominator.value();
  }
  // From the best down: a candidate is pushed away by itself and by all that stand before it.
  LogSum push;  // log sum_{k<=g} w_k / denominator_k
  double loss = 0;
  for (size_t k = 0; k < group; ++k) {
    const auto g = static_cast<size_t>(row.order[k]);
    const double log_w = row.log_weights[g], w = std::exp(log_w);
    const double term = w * (d_logits[g] - row.logits[g]);
    loss += term;
    if (!terms.empty()) terms[k] += term;
    push.add(log_w - d_logits[g]);
    d_logits[g] = std::exp(row.logits[g] + push.value()) - w;
  }
  return {loss, -push.value()};
}

}  // namespace lodestone
