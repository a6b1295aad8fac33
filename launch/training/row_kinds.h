// Do a task's rows hold what its loss and its groups need, and may they share a batch?
#pragma once

#include "comm/communicator.h"
#include "data/batches/collate.h"
#include "data/batches/fitting_rows.h"
#include "launch/config/config.h"

namespace lodestone {

/// What a task asks of a corpus' rows; `collate` is what they are collated with. Held-out pairs may have gold scores that the loss does not
/// read: they are judged by their correlation.
RowNeeds row_needs(const RunConfig& config, const TaskConfig& task, const CollateConfig& collate);

/// Of the negatives of the rows that a plan may draw.
struct DrawnNegatives {
  int64_t left_out = 0, rows = 0;  // negatives that are texts of their row's positives, and the rows that have such
  int64_t most = 0;                // as many negatives to choose from has the row that has most
};

/// Reads all but the ids of every row that the plan may draw; each rank reads a share of them. Collective. Throws Error (data), the
/// same on every rank, naming the first row that lacks what `needs` asks, or that has scores where other rows of its source have none; and,
/// naming the sources, where a batch would mix sources with such scores and sources without, which are different tasks.
DrawnNegatives require_fitting_rows(const Plan& plan, const RowSource& rows, const RowNeeds& needs, Communicator& comm);

/// Throws Error (data) when no row of the task's sources is left to train on.
void require_rows(const TaskConfig& task, const std::vector<CorpusSource>& all, const std::vector<CorpusSource>& kept);

}  // namespace lodestone
