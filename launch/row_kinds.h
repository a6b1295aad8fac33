// Do a task's sources hold the scores that its loss reads, and may their rows share a batch?
#pragma once

#include "data/row_source.h"
#include "launch/config.h"

namespace lodestone {

/// Reads the first row of every source that the plan draws from. Throws Error (data) naming the source: it lacks the gold or teacher
/// scores that the loss reads; or a batch would mix sources with such scores and sources without, which are different tasks.
void require_fitting_rows(const RunConfig& config, const TaskConfig& task, const Plan& plan, const RowSource& rows);

/// Throws Error (data) when no row of the task's sources is left to train on.
void require_rows(const TaskConfig& task, const std::vector<CorpusSource>& all, const std::vector<CorpusSource>& kept);

}  // namespace lodestone
