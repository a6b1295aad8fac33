#include "losses/group_ce.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "losses/log_sum.h"

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

enum class Entropy : uint8_t { kept, removed };

double distil(Row scores, const Teacher& teacher, int64_t group, double weight, Entropy entropy, std::span<double> d_scores) {
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

double group_soft_cross_entropy(std::span<const double> scores, const Teacher& teacher, int64_t group, double weight,
                                std::span<double> d_scores) {
  return distil(scores, teacher, group, weight, Entropy::kept, d_scores);
}

double group_kl_divergence(std::span<const double> scores, const Teacher& teacher, int64_t group, double weight,
                           std::span<double> d_scores) {
  return distil(scores, teacher, group, weight, Entropy::removed, d_scores);
}

double group_loss(const GroupLossOptions& options, std::span<const double> scores, std::span<const double> teacher_scores, int64_t group,
                  double weight, std::span<double> d_scores) {
  std::fill(d_scores.begin(), d_scores.end(), 0.0);
  double loss = options.target == GroupTarget::binary ? group_binary_cross_entropy(scores, group, weight, d_scores)
                                                      : group_cross_entropy(scores, group, weight, d_scores);
  if (options.distillation_weight > 0) {
    require_teacher(teacher_scores, static_cast<int64_t>(scores.size()), "distillation");
    loss += group_soft_cross_entropy(scores, {.scores = teacher_scores, .temperature = options.teacher_temperature}, group,
                                     weight * options.distillation_weight, d_scores);
  }
  return loss;
}

void require_teacher(std::span<const double> teacher_scores, int64_t count, const char* loss) {
  const char* const remedy =
      "give every row of this source finite teacher_scores (or pos_scores and neg_scores), or choose a loss without a teacher";
  if (static_cast<int64_t>(teacher_scores.size()) != count)
    throw Error(ExitCode::data, "teacher",
                cat(loss, " needs a teacher score for each of ", count, " passages, the rows give ", teacher_scores.size()), remedy);
  for (const double score : teacher_scores)
    if (!std::isfinite(score)) throw Error(ExitCode::data, "teacher", cat("a teacher score is ", score), remedy);
}

}  // namespace lodestone
