// Rows kept out of training, in batches of fixed order: what loss and retrieval are measured on while a run goes on.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/batches/fitting_rows.h"
#include "data/batches/row_collator.h"
#include "data/corpus/row_source.h"
#include "data/plan/source_rules.h"

namespace lodestone {

struct HeldOutConfig {
  std::vector<std::string> only{};  // the sources to take rows from, as SourceRule::match names them; empty: all
  int64_t max_rows = 1000;          // of more rows so many are taken, evenly spread
  int64_t global_batch = 128;       // rows of a batch over all ranks, at most
  std::vector<SourceRule> rules{};  // with the names they say which sources have in-batch negatives
  RowNeeds needs{};                 // what the collator and the loss ask of a row
};

/// This rank's share of the rows of a corpus, cut into batches of at most global_batch rows that differ by at most one. Rows of a batch are
/// of one kind: all of sources with in-batch negatives or none, of one group size, all with gold scores or none, all with teacher scores or
/// none. So a batch means to a loss what a training batch of its sources means. Kinds with in-batch negatives come first; rows of a kind
/// keep their order. Which rows make up a batch depends on no rank. All of it is read by the constructor and kept (4 bytes a token), so
/// that later no call reaches the corpus.
class HeldOut {
 public:
  /// Of n > max_rows rows, the floor(i n / max_rows)-th are taken for i = 0, 1, ... Throws Error, the same on every rank: usage where every
  /// batch has fewer rows than there are ranks (beside one that has enough, others may leave ranks without rows), or no row is of these
  /// sources; data with row and source where a row lacks what config.needs asks.
  HeldOut(const RowSource& rows, RowCollator& collator, const HeldOutConfig& config, int rank, int world);

  std::span<const Batch> batches() const { return batches_; }  // each with all global facts; source is 0
  int64_t global_rows() const { return global_rows_; }
  /// Whether the loss means something on a batch: one that reads no gold scores takes pairs of any score for positives. The same on every
  /// rank, those without rows in the batch too.
  bool judged_by_loss(size_t batch) const { return judged_[batch] != 0; }
  size_t memory_bytes() const;  // of the texts it keeps

 private:
  std::vector<Batch> batches_;
  std::vector<uint8_t> judged_;  // batch by batch
  int64_t global_rows_ = 0;
};

}  // namespace lodestone
