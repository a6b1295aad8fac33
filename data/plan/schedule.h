// Schedule: which batches of which tasks an optimizer step trains on, and which ranks take which of them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lodestone {

/// How the tasks of a run share its steps.
enum class TaskMix : uint8_t {
  joint,   // every step trains every task: one weighted update
  deck,    // a step trains one task, dealt from a shuffled deck of `share` cards a task: exact proportions, no droughts
  random,  // a step trains one task, drawn with probability proportional to its share
};

/// As configurations name it.
constexpr std::string_view name_of(TaskMix value) {
  switch (value) {
    case TaskMix::joint:
      return "joint";
    case TaskMix::deck:
      return "deck";
    case TaskMix::random:
      return "random";
  }
  return {};
}

/// Who computes a step's parts.
enum class Layout : uint8_t {
  colocated,  // every rank takes its rows of every part
  grouped,    // the ranks are divided among the groups and tasks of a joint step; each takes rows of one task's parts
};

/// As configurations name it.
constexpr std::string_view name_of(Layout value) {
  switch (value) {
    case Layout::colocated:
      return "colocated";
    case Layout::grouped:
      return "grouped";
  }
  return {};
}

struct ScheduleTask {
  std::string name;
  double weight = 1;  // of its loss in the step's
  int64_t share = 1;  // deck: cards; random: relative probability
  int64_t ranks = 1;  // grouped: ranks of one group that it gets
  int64_t cost = 1;   // tokens of one of its batches, roughly: the costliest task gets the ranks that are left over
};

struct ScheduleConfig {
  std::vector<ScheduleTask> tasks;
  int64_t steps = 0;
  int64_t accumulate = 1;  // rounds of batches a step
  int64_t groups = 1;      // batches of each task in a round, each with its own negatives (Conan: groups of 4+1 devices)
  uint64_t seed = 0;
  TaskMix mix = TaskMix::joint;
  Layout layout = Layout::colocated;
};

/// One global batch of a step.
struct StepPart {
  int32_t task = 0;
  int32_t group = 0;
  int64_t draw = 0;   // which batch of the task's plan
  double weight = 1;  // of its loss
};

/// A pure function of (seed, step), the same on all ranks. The number of ranks does not enter: it only decides who computes what.
class Schedule {
 public:
  /// Throws Error (usage): no task, impossible values, grouped without joint.
  explicit Schedule(ScheduleConfig config);

  const ScheduleConfig& config() const { return config_; }
  /// The parts of a step in their fixed order: round by round, in a round group by group, in a group task by task.
  /// Weights are task weight / (accumulate * groups). `out` is reused.
  void parts(int64_t step, std::vector<StepPart>& out) const;
  /// How many parts every step has.
  int64_t parts_per_step() const;
  /// The weight of a task's mean loss in a step's loss, on average over steps.
  double mean_weight(int32_t task) const;
  /// How many batches of a task the whole run draws.
  int64_t draws(int32_t task) const;

 private:
  void deal(int64_t round, std::vector<int32_t>& cards) const;
  int32_t draw(int64_t step) const;

  ScheduleConfig config_;
  int64_t cards_ = 0;              // of a deck: the sum of the shares
  std::vector<int32_t> drawn_;     // [steps] deck, random: the task of each step
  std::vector<int64_t> position_;  // [steps] deck, random: how many earlier steps trained it
};

/// Ranks that work together on the same parts, one after another in the order of the step. In a colocated run there is one
/// team of all ranks.
struct Team {
  int32_t task = -1;              // -1: all
  int32_t group = 0, stride = 1;  // of the groups it takes `group` and every stride-th one after it
  int64_t ranks = 0;              // contiguous, teams in the order of their ranks
};

/// How `world` ranks form teams. One group needs `ranks` of each task; the ranks form as many sets of teams as that allows, at
/// most one for each group: floor(world / needed). With S sets, set s takes the groups s, s + S, s + 2 S, ... Ranks left over
/// go, one at a time, to the team with the highest cost a rank (the first of equals), its groups counted. Every part is taken by
/// exactly one team, with the schedule's draws and weights: the objective is the same for any number of ranks.
/// Throws Error (usage, F13): fewer ranks than one group needs; names layout: colocated.
std::vector<Team> form_teams(const ScheduleConfig& config, int world);

/// Whether a team trains a part.
constexpr bool takes(const Team& team, const StepPart& part) {
  return part.group % team.stride == team.group && (team.task < 0 || team.task == part.task);
}

}  // namespace lodestone
