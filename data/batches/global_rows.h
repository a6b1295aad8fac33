// GlobalRows: which rows make up a global batch, in the order in which ranks share them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/batches/row_collator.h"
#include "data/plan/plan.h"

namespace lodestone {

/// Reorders rows so that any contiguous share holds about as many tokens as any other of its size: sorted by tokens, the
/// shortest paired with the longest, the second with the second longest ..., and the pairs taken in van der Corput's order
/// (0, N/4, N/8, 3N/8, ...). A function of the rows' order and tokens alone, not of the number of ranks. tokens [N] belong
/// to rows [N]. `scratch` is memory to reuse.
void balance_tokens(std::span<int64_t> rows, std::span<const int64_t> tokens, std::vector<int64_t>& scratch);

class GlobalRows {
 public:
  /// All must outlive it. The collator tells how many tokens a row has; it is used only when the plan's rows are balanced.
  GlobalRows(const Plan& plan, const RowSource& rows, RowCollator& collator);

  /// Global row ids [N] of a batch of the plan that a step trains on, valid until the next call; part() then says of which
  /// source and epoch. Balanced, it reads the lengths of all N rows. Allocates nothing. Throws what reading and collating throw.
  std::span<const int64_t> read(int64_t draw, int64_t step);
  const Part& part() const { return part_; }
  /// Whether that source has in-batch negatives.
  bool in_batch_negatives() const { return plan_.sources()[static_cast<size_t>(part_.source)].in_batch_negatives; }

 private:
  const Plan& plan_;
  const RowSource& rows_;
  RowCollator& collator_;
  Part part_;
  std::vector<int64_t> ids_, tokens_;  // [N] each
  std::vector<int64_t> scratch_;       // [2 N]
};

}  // namespace lodestone
