// BatchKinds: of which sizes the batches of a task are, and how many negatives a query has in them.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "data/plan/plan.h"
#include "data/plan/schedule.h"
#include "launch/config/config.h"

namespace lodestone {

/// Batches of one size and with negatives of one kind.
struct BatchKind {
  int64_t queries = 0;                    // of the global batch
  int64_t passages = 1;                   // of a query
  NegativeCounts fewest = {}, most = {};  // negatives of a query; they differ where it meets those of its own rank only
  std::vector<std::string> sources = {};  // of the plan, that have them; empty without data
};

/// How many ranks share a batch of a task: one number for each team that trains it.
std::vector<int64_t> team_sizes(const ScheduleConfig& schedule, int32_t task, int world);

/// "3, 2 at a time": the groups of a grouped run, and how many of them `world` ranks take at once. Empty for a colocated one.
std::string describe_groups(const ScheduleConfig& schedule, int world);

/// What the sources of a task's plan have, in the order of the first source of each kind. Without sources: what one would have
/// for which the task has no rule.
std::vector<BatchKind> batch_kinds(const TaskConfig& task, std::span<const PlanSource> sources, std::span<const int64_t> team_sizes);

/// Throws Error (usage) naming the first source whose queries have nothing to be compared with: a group of one passage, and no other
/// query's passages among the candidates - by the source's name or rule, by the loss, or because a rank has one query. Training on it would
/// change nothing.
void require_comparisons(const RunConfig& config, const TaskConfig& task, std::span<const PlanSource> sources,
                         std::span<const int64_t> team_sizes);

/// "128 queries x 2 passages over all ranks, 255 negatives per query", and ", 127 per positive" where it has some, one line for each kind,
/// with its sources where there are several.
std::vector<std::string> describe(std::span<const BatchKind> kinds, ObjectiveKind objective, Layout layout,
                                  std::span<const int64_t> team_sizes);

}  // namespace lodestone
