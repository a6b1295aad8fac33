// The operations in which own code stands beside a library's or a bound's: attention, the optimizer, tiles of the loss.
#pragma once

#include <nlohmann/json.hpp>

#include "launch/bench/bench_step.h"

namespace lodestone {

/// bench_attention() at `tokens` tokens; AdamW and the rounded copy of the weights of options.model against copies of a vector of their
/// size, in turns; and tiles of scores of options.pairs queries and as many passages, their products and whole, against products of
/// options.ceiling_edge, measured before and after. Throws Error (usage) with several ranks.
nlohmann::ordered_json bench_operations(const BenchOptions& options, int64_t tokens, World& world);

}  // namespace lodestone
