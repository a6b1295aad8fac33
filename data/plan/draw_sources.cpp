// How the sources of batches are drawn.
#include "data/plan/draw_sources.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "core/error.h"
#include "data/files/below.h"
#include "data/plan/permutation.h"

namespace lodestone {
namespace {

/// Sources that have a share of the batches together, and how they take turns.
class Group {
 public:
  Group(Key key, const PlanConfig& config, double share) : key_(key), batching_(config.batching), share_(share) {
    alpha_ = batching_ == Batching::multinomial ? config.alpha : 1;
  }

  void add(int32_t source, const PlanSource& from, const SourceBatches& batches) {
    sources_.push_back(source);
    repeat_.push_back(static_cast<double>(from.repeat));
    rows_.push_back(static_cast<double>(batches.rows_per_epoch()));
    batches_.push_back(from.repeat * batches.per_epoch());
  }

  /// Call when all sources are added.
  void start() {
    const double largest = *std::max_element(rows_.begin(), rows_.end());
    weight_.clear();
    for (size_t i = 0; i < sources_.size(); ++i) {  // relative to the largest: n^alpha itself could overflow
      weight_.push_back(by_batches() ? static_cast<double>(batches_[i]) : repeat_[i] * std::pow(rows_[i] / largest, alpha_));
    }
    const double sum = std::accumulate(weight_.begin(), weight_.end(), 0.0);
    double below = 0;
    int64_t before = 0;
    for (size_t i = 0; i < sources_.size(); ++i) {
      cumulative_.push_back(below += (weight_[i] /= sum));
      batches_up_to_.push_back(before += batches_[i]);
    }
    cumulative_.back() = 1;
  }

  double lag(int64_t drawn) const { return share_ * static_cast<double>(drawn + 1) - static_cast<double>(taken_); }
  void expect(std::vector<double>& probability) const {
    for (size_t i = 0; i < sources_.size(); ++i) probability[static_cast<size_t>(sources_[i])] = share_ * weight_[i];
  }

  int32_t next() {
    const int64_t j = taken_++;
    switch (batching_) {
      case Batching::epoch:
      case Batching::epoch_static:
        return sources_[shuffled(j)];
      case Batching::epoch_random:
        return sources_[remaining(static_cast<uint64_t>(j))];
      case Batching::multinomial:
      case Batching::random:
      case Batching::mixed:
        break;
    }
    const auto above = std::upper_bound(cumulative_.begin(), cumulative_.end(), key_.uniform(static_cast<uint64_t>(j)));
    return sources_[static_cast<size_t>(above - cumulative_.begin())];
  }

 private:
  bool by_batches() const {
    return batching_ == Batching::epoch || batching_ == Batching::epoch_static || batching_ == Batching::epoch_random;
  }
  /// All batches of an epoch, source after source, in an order drawn for the epoch: the source of the j-th.
  size_t shuffled(int64_t j) const {
    const int64_t all = batches_up_to_.back(), epoch = j / all;
    const int64_t place = Permutation(key_.with(static_cast<uint64_t>(epoch)), all)(j % all);
    return static_cast<size_t>(std::upper_bound(batches_up_to_.begin(), batches_up_to_.end(), place) - batches_up_to_.begin());
  }
  /// One of the batches that are left, all equally likely.
  size_t remaining(uint64_t j) {
    if (left_in_all_ == 0) {
      left_ = batches_;
      left_in_all_ = batches_up_to_.back();
    }
    auto place = static_cast<int64_t>(below(key_.bits(j), static_cast<uint64_t>(left_in_all_)));
    size_t i = 0;
    for (; place >= left_[i]; ++i) place -= left_[i];
    --left_[i];
    --left_in_all_;
    return i;
  }

  Key key_;
  Batching batching_;
  double alpha_, share_;
  std::vector<int32_t> sources_;
  std::vector<double> repeat_, rows_, weight_, cumulative_;
  std::vector<int64_t> batches_, batches_up_to_;  // of an epoch: of each source, and of it and those before it
  std::vector<int64_t> left_;                     // of batches_, in this epoch
  int64_t left_in_all_ = 0, taken_ = 0;
};

}  // namespace

SourceDraws draw_sources(Key key, const PlanConfig& config, std::span<const PlanSource> sources, std::span<const SourceBatches> batches) {
  double rest = 1;
  std::map<int32_t, Group> by_share;
  for (size_t i = 0; i < sources.size(); ++i) {
    const int32_t share = sources[i].share;
    if (!by_share.contains(share)) {
      const double of_all = share < 0 ? 0 : *config.rules[static_cast<size_t>(share)].share;
      rest -= of_all;
      by_share.emplace(share, Group(key.with("source").with(static_cast<uint64_t>(int64_t{share} + 1)), config, of_all));
    }
  }
  if (const auto none = by_share.find(-1); none != by_share.end()) none->second = Group(key.with("source").with(uint64_t{0}), config, rest);
  for (size_t i = 0; i < sources.size(); ++i) by_share.at(sources[i].share).add(static_cast<int32_t>(i), sources[i], batches[i]);

  SourceDraws result{std::vector<int32_t>(static_cast<size_t>(config.batches)), std::vector<double>(sources.size())};
  std::vector<Group> groups;
  for (auto& [share, group] : by_share) {
    group.start();
    group.expect(result.probability);
    groups.push_back(std::move(group));
  }
  for (int64_t d = 0; d < config.batches; ++d) {
    const auto lags_less = [d](const Group& a, const Group& b) { return a.lag(d) < b.lag(d); };
    result.drawn[static_cast<size_t>(d)] = std::max_element(groups.begin(), groups.end(), lags_less)->next();
  }
  return result;
}

}  // namespace lodestone
