// Which rows of a corpus a task leaves out, found out by all ranks together.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/communicator.h"
#include "data/batches/row_filter.h"

namespace lodestone {

/// The verdict on every row of the corpus, by global row id, for FilteredRows: each rank judges a share of the rows. Every rank
/// calls it. Throws Error (data) on the rank that meets a row whose scores do not match its texts.
std::vector<uint8_t> judge_over_ranks(Communicator& comm, const RowSource& rows, const RowFilter& filter, const CandidateConfig& candidates,
                                      std::span<const int64_t> source_groups = {});

}  // namespace lodestone
