// Can mining replace anything in a run, and what of a task's negatives is worth a warning?
#pragma once

#include <string>
#include <vector>

#include "core/similarity.h"
#include "data/mining/hard_negatives.h"
#include "data/plan/plan.h"
#include "launch/training/row_kinds.h"

namespace lodestone {

/// What mining cannot do in a run of `steps` steps, a sentence each. Why no negative can be replaced: no check comes, no row is scored at
/// two steps so that its score could fall, or no row has a negative behind its first window. Rows are scored when they are trained on and
/// when they are probed; a run that probes is taken to score some row twice. And where scores are dot products: limits on them have no
/// natural size.
std::vector<std::string> mining_warnings(const HardNegativesConfig& config, Similarity similarity, const Plan& plan, int64_t steps,
                                         int64_t most_negatives);

/// "in 3 rows a positive stands among the negatives; 5 negatives are left out"; empty where there is none.
std::string describe_left_out(const DrawnNegatives& counts);

}  // namespace lodestone
