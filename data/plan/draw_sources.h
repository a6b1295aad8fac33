// draw_sources: which source each batch of a plan is taken from.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/rng.h"
#include "data/plan/plan.h"

namespace lodestone {

struct SourceDraws {
  std::vector<int32_t> drawn;       // [config.batches] source of each batch
  std::vector<double> probability;  // [sources] fraction of all batches expected from each
};

/// Sources of one share (and those without any) form a group. Batch d goes to the group that lags its share most,
/// so that after any number of batches each group is within a batch or two of its share. The j-th batch of a group takes its
/// source as config.batching says, drawn by (key, group, j). O(batches log sources), of epoch_random O(batches sources).
SourceDraws draw_sources(Key key, const PlanConfig& config, std::span<const PlanSource> sources, std::span<const SourceBatches> batches);

}  // namespace lodestone
