// Workload: what a run trains on - its schedule, the team that this rank belongs to, and its tasks.
#pragma once

#include "comm/group.h"
#include "data/plan/schedule.h"
#include "launch/training/task.h"

namespace lodestone {

/// What the configuration alone says of it: steps (0 where they are given in epochs), and no shares that follow from the data.
ScheduleConfig schedule_config(const RunConfig& config);

/// The team that a rank belongs to.
struct TeamPlace {
  Team team;
  std::unique_ptr<SplitGroup> part;  // its ranks; null: all ranks are one team
};

struct Workload {
  /// Opens the rows of every task, makes the schedule, finds the team and makes the tasks. Steps follow from num_train_epochs of the first
  /// task (joint), or of all tasks together, if they are given. Collective over run.world. Throws Error: data that do not fit their task
  /// (data); fewer ranks than one group needs, ranks without rows, queries that are compared with nothing (usage).
  explicit Workload(const TaskContext& run);
  Workload(const Workload&) = delete;
  Workload& operator=(const Workload&) = delete;

  /// What the loader makes for this rank: one stream a task.
  std::vector<BatchStream> streams(const TaskContext& run) const;

  /// Throws Error (data, F36) where a corpus is no longer as it was opened. May be called while the loader reads.
  void require_unchanged() const;

  const Schedule schedule;
  const TeamPlace team;
  const std::vector<std::unique_ptr<Task>> tasks;

 private:
  Workload(const TaskContext& run, std::vector<std::unique_ptr<TaskRows>> rows);
};

}  // namespace lodestone
