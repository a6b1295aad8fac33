// What a step adds up over ranks and tasks, and its means since the last record.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "core/batch.h"
#include "data/plan/schedule.h"
#include "losses/loss.h"

namespace lodestone {

/// Sums of one step: this rank's until sum(), then those of all ranks.
class StepTally {
 public:
  /// ranks: those whose shares of the gradient have squares to add; 0 where every rank has the whole gradient.
  StepTally(size_t tasks, size_t ranks) : tasks_(tasks), ranks_(ranks), values_(fixed + tasks + ranks) {}

  void begin() { std::fill(values_.begin(), values_.end(), 0.0); }
  void add(const Batch& batch, const LossCounts& counts) {
    values_[pairs_place] += static_cast<double>(batch.queries);
    values_[tokens_place] += static_cast<double>(batch.ids.size());
    values_[masked_place] += static_cast<double>(counts.masked_candidates);
  }
  /// share: what Objective::accumulate found of the part, without a loss scale.
  void add_share(const StepPart& part, double share) {
    values_[loss_place] += share;
    values_[fixed + static_cast<size_t>(part.task)] += share;
  }
  /// Of the gradient, or of the share of it that `rank` updates.
  void set_squares(double squares, int rank) {
    squares_ = squares;
    if (ranks_ > 0) values_[fixed + tasks_ + static_cast<size_t>(rank)] = squares;
  }
  void ask_to_stop() { values_[stop_place] = 1; }
  /// Collective; one small reduction.
  void sum(Communicator& comm) { all_reduce(comm, std::span(values_), Reduce::sum); }

  /// Of the summed gradient, the same on all ranks: squares of shares are added in the order of ranks, so its last bits depend on their
  /// number.
  double norm() const {
    const auto shares = std::span(values_).subspan(fixed + tasks_);
    return std::sqrt(ranks_ == 0 ? squares_ : std::accumulate(shares.begin(), shares.end(), 0.0));
  }
  double loss() const { return values_[loss_place]; }
  double pairs() const { return values_[pairs_place]; }
  double tokens() const { return values_[tokens_place]; }
  double masked() const { return values_[masked_place]; }
  bool stop() const { return values_[stop_place] > 0; }
  /// Of a task, weighted as in loss().
  double loss_of(size_t task) const { return values_[fixed + task]; }

 private:
  enum Place : size_t { loss_place, pairs_place, tokens_place, masked_place, stop_place, fixed };
  size_t tasks_, ranks_;
  std::vector<double> values_;
  double squares_ = 0;
};

/// Means over the steps since the last take().
class RecentLoss {
 public:
  explicit RecentLoss(std::span<const ScheduleTask> tasks) : tasks_(tasks.begin(), tasks.end()), of_task_(tasks.size()) {}

  /// parts: of the step, of all teams.
  void add(const StepTally& tally, std::span<const StepPart> parts) {
    loss_ += tally.loss();
    masked_ += tally.masked();
    ++steps_;
    for (size_t t = 0; t < of_task_.size(); ++t) {
      if (std::none_of(parts.begin(), parts.end(), [&](const StepPart& p) { return static_cast<size_t>(p.task) == t; })) continue;
      of_task_[t].loss += tally.loss_of(t) / tasks_[t].weight;
      ++of_task_[t].steps;
    }
  }
  struct Means {
    double loss = 0, masked = 0;
    std::vector<double> of_task;  // unweighted; NaN where a task was not trained
  };
  Means take() {
    Means means{loss_ / static_cast<double>(steps_), masked_ / static_cast<double>(steps_), {}};
    for (const OfTask& t : of_task_) means.of_task.push_back(t.loss / static_cast<double>(t.steps));
    loss_ = masked_ = 0;
    steps_ = 0;
    std::fill(of_task_.begin(), of_task_.end(), OfTask{});
    return means;
  }

 private:
  struct OfTask {
    double loss = 0;
    int64_t steps = 0;
  };
  std::vector<ScheduleTask> tasks_;
  double loss_ = 0, masked_ = 0;
  int64_t steps_ = 0;
  std::vector<OfTask> of_task_;
};

}  // namespace lodestone
