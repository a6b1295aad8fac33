// How tasks are dealt to steps and ranks to tasks.
#include "data/plan/schedule.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "core/rng.h"
#include "data/files/below.h"

namespace lodestone {
namespace {

constexpr int64_t most_cards = 1'000'000;

Error bad_schedule(const std::string& what, std::string remedy) { return Error(ExitCode::usage, "schedule", what, std::move(remedy)); }

void require_valid(const ScheduleConfig& c) {
  if (c.tasks.empty()) throw bad_schedule("the run has no task", "name at least one");
  if (c.steps < 0) throw bad_schedule(cat("the run has ", c.steps, " steps"), "give a number of steps of at least 0");
  if (c.accumulate < 1) throw bad_schedule(cat("a step accumulates ", c.accumulate, " batches"), "accumulate at least 1");
  if (c.groups < 1) throw bad_schedule(cat("a step has ", c.groups, " groups"), "give at least 1");
  for (const ScheduleTask& t : c.tasks) {
    if (!(t.weight > 0))
      throw bad_schedule(cat("task ", t.name, " has weight ", t.weight), "give a positive weight, or leave the task out");
    if (t.share < 1) throw bad_schedule(cat("task ", t.name, " has share ", t.share), "give a share of at least 1, or leave the task out");
    if (t.ranks < 1) throw bad_schedule(cat("task ", t.name, " has ", t.ranks, " ranks a group"), "give at least 1");
  }
  if (c.layout == Layout::grouped && c.mix != TaskMix::joint && c.tasks.size() > 1)
    throw bad_schedule("ranks are grouped by task, but a step trains one task only", "use layout colocated, or mix joint");
}

}  // namespace

Schedule::Schedule(ScheduleConfig config) : config_(std::move(config)) {
  require_valid(config_);
  for (const ScheduleTask& t : config_.tasks) cards_ += t.share;
  if (config_.mix == TaskMix::deck && cards_ > most_cards)
    throw bad_schedule(cat("the shares of the tasks add up to ", cards_, ", a deck has at most ", most_cards, " cards"),
                       "use smaller shares in the same proportion, or mix: random");
  if (config_.mix == TaskMix::joint) return;
  std::vector<int64_t> count(config_.tasks.size(), 0);
  std::vector<int32_t> cards;
  drawn_.reserve(static_cast<size_t>(config_.steps));
  position_.reserve(static_cast<size_t>(config_.steps));
  for (int64_t step = 0; step < config_.steps; ++step) {
    const bool deck = config_.mix == TaskMix::deck;
    if (deck && step % cards_ == 0) deal(step / cards_, cards);
    const int32_t task = deck ? cards[static_cast<size_t>(step % cards_)] : draw(step);
    drawn_.push_back(task);
    position_.push_back(count[static_cast<size_t>(task)]++);
  }
}

/// The deck of a round, shuffled.
void Schedule::deal(int64_t round, std::vector<int32_t>& cards) const {
  cards.clear();
  for (size_t t = 0; t < config_.tasks.size(); ++t)
    cards.insert(cards.end(), static_cast<size_t>(config_.tasks[t].share), static_cast<int32_t>(t));
  const Key key = Key(config_.seed).with("deck").with(static_cast<uint64_t>(round));
  for (size_t i = cards.size(); i > 1; --i) std::swap(cards[i - 1], cards[below(key.bits(i), i)]);
}

/// A task with probability proportional to its share.
int32_t Schedule::draw(int64_t step) const {
  auto rest = static_cast<int64_t>(below(Key(config_.seed).with("task").bits(static_cast<uint64_t>(step)), static_cast<uint64_t>(cards_)));
  size_t task = 0;
  while (rest >= config_.tasks[task].share) rest -= config_.tasks[task++].share;
  return static_cast<int32_t>(task);
}

int64_t Schedule::parts_per_step() const {
  const int64_t tasks = config_.mix == TaskMix::joint ? static_cast<int64_t>(config_.tasks.size()) : 1;
  return config_.accumulate * config_.groups * tasks;
}

void Schedule::parts(int64_t step, std::vector<StepPart>& out) const {
  LODE_CHECK(step >= 0 && step < config_.steps, "step ", step, " of a schedule of ", config_.steps);
  const int64_t batches = config_.accumulate * config_.groups;  // of each task that the step trains
  const bool joint = config_.mix == TaskMix::joint;
  const int32_t only = joint ? 0 : drawn_[static_cast<size_t>(step)];
  const int32_t first = only, last = joint ? static_cast<int32_t>(config_.tasks.size()) : only + 1;
  const int64_t before = (joint ? step : position_[static_cast<size_t>(step)]) * batches;
  out.clear();
  for (int64_t b = 0; b < batches; ++b)
    for (int32_t t = first; t < last; ++t)
      out.push_back({t, static_cast<int32_t>(b % config_.groups), before + b,
                     config_.tasks[static_cast<size_t>(t)].weight / static_cast<double>(batches)});
}

double Schedule::mean_weight(int32_t task) const {
  const ScheduleTask& t = config_.tasks[static_cast<size_t>(task)];
  if (config_.mix == TaskMix::joint) return t.weight;
  int64_t shares = 0;
  for (const ScheduleTask& other : config_.tasks) shares += other.share;
  return t.weight * static_cast<double>(t.share) / static_cast<double>(shares);
}

int64_t Schedule::draws(int32_t task) const {
  const int64_t batches = config_.accumulate * config_.groups;
  if (config_.mix == TaskMix::joint) return config_.steps * batches;
  return std::count(drawn_.begin(), drawn_.end(), task) * batches;
}

std::vector<Team> form_teams(const ScheduleConfig& config, int world) {
  if (config.layout == Layout::colocated) return {{.ranks = world}};
  int64_t needed = 0;
  for (const ScheduleTask& task : config.tasks) needed += task.ranks;
  if (world < needed)
    throw Error(ExitCode::usage, "F13", cat("a group needs ", needed, " ranks, there ", world == 1 ? "is " : "are ", world),
                "start more ranks, lower tasks.NAME.ranks, or use schedule.layout: colocated, the same objective on any number of ranks");
  const int64_t sets = std::min(config.groups, world / needed);
  std::vector<Team> teams;
  std::vector<int64_t> cost;  // of what a team takes
  for (int64_t s = 0; s < sets; ++s) {
    const int64_t groups = (config.groups - s + sets - 1) / sets;  // that the set takes
    for (size_t t = 0; t < config.tasks.size(); ++t) {
      teams.push_back({.task = static_cast<int32_t>(t),
                       .group = static_cast<int32_t>(s),
                       .stride = static_cast<int32_t>(sets),
                       .ranks = config.tasks[t].ranks});
      cost.push_back(groups * config.tasks[t].cost);
    }
  }
  for (int64_t left = world - sets * needed; left > 0; --left) {
    size_t slowest = 0;
    for (size_t i = 1; i < teams.size(); ++i)  // cost a rank, compared without division
      if (cost[i] * teams[slowest].ranks > cost[slowest] * teams[i].ranks) slowest = i;
    ++teams[slowest].ranks;
  }
  return teams;
}

}  // namespace lodestone
