#include "launch/evaluation/logistic_regression.h"

#include <algorithm>
#include <cmath>

namespace lodestone {

namespace {

/// scores [n,S] = rows weights^T + intercepts.
void score(const Rows& rows, std::span<const double> weights, std::span<const double> intercepts, int threads, std::span<double> scores) {
  const int64_t n = rows.count(), s = std::ssize(intercepts);
  const Rows w{weights, rows.width};
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t i = 0; i < n; ++i)
    for (int64_t k = 0; k < s; ++k)
      scores[static_cast<size_t>(i * s + k)] = inner(rows.row(i), w.row(k)) + intercepts[static_cast<size_t>(k)];
}

/// -ln p(target) of one row; turns its scores into p - 1(target), the gradient. One score: the log-odds of target 1.
double row_loss(std::span<double> scores, size_t target) {
  if (scores.size() == 1) {
    const double z = scores[0], e = std::exp(-std::abs(z)), p = z >= 0 ? 1 / (1 + e) : e / (1 + e);
    scores[0] = p - static_cast<double>(target);
    return std::log1p(e) + std::max(z, 0.0) - static_cast<double>(target) * z;
  }
  const double most = *std::max_element(scores.begin(), scores.end()), wanted = scores[target] - most;
  double sum = 0;
  for (double& v : scores) sum += v = std::exp(v - most);
  for (double& v : scores) v /= sum;
  scores[target] -= 1;
  return std::log(sum) - wanted;
}

/// The objective over weights [S,width] and then intercepts [S], all in one vector.
class PenalisedLoss {
 public:
  PenalisedLoss(const Rows& rows, std::vector<size_t> targets, int64_t scores, const LogisticSettings& settings)
      : rows_(rows),
        targets_(std::move(targets)),
        s_(scores),
        threads_(settings.threads),
        n_(static_cast<double>(rows.count())),
        penalty_(1 / (settings.c * n_)),
        scores_(static_cast<size_t>(rows.count() * scores)) {}

  double operator()(std::span<const double> x, std::span<double> gradient) {
    const auto weights = x.first(static_cast<size_t>(s_ * rows_.width)), intercepts = x.last(static_cast<size_t>(s_));
    score(rows_, weights, intercepts, threads_, scores_);
    double loss = 0;
    for (size_t i = 0; i < targets_.size(); ++i)
      loss += row_loss(std::span(scores_).subspan(i * static_cast<size_t>(s_), static_cast<size_t>(s_)), targets_[i]);
    const int64_t width = rows_.width;
#pragma omp parallel for schedule(static) num_threads(threads_)
    for (int64_t k = 0; k < s_; ++k) {
      const auto d_weights = gradient.subspan(static_cast<size_t>(k * width), static_cast<size_t>(width));
      for (size_t e = 0; e < d_weights.size(); ++e) d_weights[e] = penalty_ * weights[static_cast<size_t>(k * width) + e];
      double d_intercept = 0;
      for (size_t i = 0; i < targets_.size(); ++i) {
        const double share = scores_[i * static_cast<size_t>(s_) + static_cast<size_t>(k)] / n_;
        const auto row = rows_.row(static_cast<int64_t>(i));
        d_intercept += share;
        for (size_t e = 0; e < d_weights.size(); ++e) d_weights[e] += share * row[e];
      }
      gradient[static_cast<size_t>(s_ * width + k)] = d_intercept;
    }
    return loss / n_ + 0.5 * penalty_ * inner(weights, weights);
  }

 private:
  Rows rows_;
  std::vector<size_t> targets_;
  int64_t s_;
  int threads_;
  double n_, penalty_;
  std::vector<double> scores_;
};

}  // namespace

LogisticModel fit_logistic(const Rows& rows, std::span<const int64_t> labels, const LogisticSettings& settings) {
  LODE_CHECK(rows.count() == std::ssize(labels), rows.count(), " rows and ", labels.size(), " labels");
  LogisticModel model;
  model.classes.assign(labels.begin(), labels.end());
  std::ranges::sort(model.classes);
  model.classes.erase(std::unique(model.classes.begin(), model.classes.end()), model.classes.end());
  LODE_CHECK(model.classes.size() > 1, "all labels are one");
  std::vector<size_t> targets;
  targets.reserve(labels.size());
  for (const int64_t label : labels)
    targets.push_back(static_cast<size_t>(std::ranges::lower_bound(model.classes, label) - model.classes.begin()));
  const int64_t scores = model.classes.size() == 2 ? 1 : std::ssize(model.classes);
  PenalisedLoss objective(rows, std::move(targets), scores, settings);
  std::vector<double> x(static_cast<size_t>(scores * (rows.width + 1)));
  const LbfgsResult found = minimise([&](std::span<const double> at, std::span<double> gradient) { return objective(at, gradient); }, x,
                                     {.most_iterations = settings.most_iterations, .gradient_tolerance = settings.gradient_tolerance});
  model.weights.assign(x.begin(), x.end() - scores);
  model.intercepts.assign(x.end() - scores, x.end());
  model.objective = found.value;
  model.iterations = found.iterations;
  model.converged = found.converged;
  return model;
}

std::vector<int64_t> predict(const LogisticModel& model, const Rows& rows, int threads) {
  const size_t s = model.intercepts.size();
  std::vector<double> scores(static_cast<size_t>(rows.count()) * s);
  score(rows, model.weights, model.intercepts, threads, scores);
  std::vector<int64_t> out(static_cast<size_t>(rows.count()));
  for (size_t i = 0; i < out.size(); ++i) {
    const auto own = std::span(scores).subspan(i * s, s);
    const auto best = s == 1 ? static_cast<std::ptrdiff_t>(own[0] > 0) : std::max_element(own.begin(), own.end()) - own.begin();
    out[i] = model.classes[static_cast<size_t>(best)];
  }
  return out;
}

}  // namespace lodestone
