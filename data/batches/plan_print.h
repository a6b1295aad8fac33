// Prints a schedule's steps as JSON lines: what every step trains on, by global row id.
#pragma once

#include <ostream>
#include <span>

#include "data/batches/batch_stream.h"
#include "data/plan/schedule.h"

namespace lodestone {

/// A task of a schedule, as its batches are found.
struct PlannedTask {
  const Plan& plan;
  const RowSource& rows;
  std::unique_ptr<RowCollator> collator;  // tells how many tokens a row has, where rows are balanced
};

/// Steps [first, first + count) of the schedule, as far as it goes, one object a line:
///   {"step":0,"parts":[{"source":"..","task":"..","epoch":0,"rows":[global row ids]}]}
/// With several groups a part also says which is its own: "group":1. `tasks` stand in the schedule's order.
void print_plan(std::ostream& out, const Schedule& schedule, std::span<const PlannedTask> tasks, int64_t first, int64_t count);

}  // namespace lodestone
