// What a plan looks like on paper: its steps as JSON lines.
#pragma once

#include <ostream>

#include "data/collate.h"
#include "data/plan.h"
#include "data/row_source.h"

namespace lodestone {

/// One line a step of `accumulate` batches, for steps [first, first + count) of the plan (those it has):
///   {"step":0,"parts":[{"source":"net","task":"retrieval","epoch":0,"rows":[17,4]}]}
/// rows are global row ids in the order of the global batch, as GlobalRows reads them; the collator tells it their lengths.
void print_plan(std::ostream& out, const Plan& plan, const RowSource& rows, Collator& collator, int64_t accumulate, int64_t first,
                int64_t count);

}  // namespace lodestone
