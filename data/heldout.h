// Rows kept out of training, in batches of fixed order: what loss and retrieval are measured on while a run goes on.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/row_collator.h"
#include "data/row_source.h"
#include "data/source_rules.h"

namespace lodestone {

struct HeldOutConfig {
  std::vector<std::string> only{};   // the sources to take rows from, as SourceRule::match names them; empty: all
  int64_t max_rows = 1000;           // of more rows so many are taken, evenly spread
  int64_t global_batch = 128;        // rows of a batch over all ranks, at most
  std::vector<SourceRule> rules{};   // with the names they say which sources have in-batch negatives
};

/// This rank's share of the rows of a corpus, cut into batches of at most global_batch rows: first those of sources with in-batch negatives,
/// then those of sources without, each in their order and in batches that differ by at most one row. So a batch means to a loss what a
/// training batch of its sources means. Which rows make up a batch depends on no rank. All of it is read by the constructor and kept
/// (4 bytes a token), so that later no call reaches the corpus.
class HeldOut {
 public:
  /// Of n > max_rows rows, the floor(i n / max_rows)-th are taken for i = 0, 1, ... Throws Error (usage): batches with fewer rows than ranks,
  /// or no rows of these sources. Only behind others may the batches without in-batch negatives leave ranks without rows.
  HeldOut(const RowSource& rows, RowCollator& collator, const HeldOutConfig& config, int rank, int world);

  std::span<const Batch> batches() const { return batches_; }   // each with all global facts; source is 0
  int64_t global_rows() const { return global_rows_; }

 private:
  std::vector<Batch> batches_;
  int64_t global_rows_ = 0;
};

}  // namespace lodestone
