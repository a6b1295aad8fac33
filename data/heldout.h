// Rows kept out of training, in batches of fixed order: what loss and retrieval are measured on while a run goes on.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/row_collator.h"
#include "data/row_source.h"

namespace lodestone {

/// This rank's share of the rows of a corpus in their order, cut into batches of at most global_batch rows that differ by at
/// most one. All of it is read by the constructor and kept (4 bytes a token), so that later no call reaches the corpus.
class HeldOut {
 public:
  /// Of more than max_rows rows, max_rows are taken, evenly spread: row floor(i rows / max_rows) for i = 0, 1, ... Throws Error (usage) when there are fewer rows than ranks.
  HeldOut(const RowSource& rows, RowCollator& collator, int64_t max_rows, int64_t global_batch, int rank, int world);

  std::span<const Batch> batches() const { return batches_; }   // each with all global facts; source is 0
  int64_t global_rows() const { return global_rows_; }

 private:
  std::vector<Batch> batches_;
  int64_t global_rows_ = 0;
};

}  // namespace lodestone
