// Can a row be used as its task is configured? Told by the hashes of its texts and its scores, without reading ids.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/batches/candidates.h"
#include "data/corpus/row_source.h"

namespace lodestone {

/// What a task asks of its rows.
struct RowNeeds {
  CandidateConfig candidates{};
  std::vector<int64_t> source_groups{};  // G of each source in place of candidates.group; empty: that one everywhere
  std::string gold_reader{};             // the loss that reads gold scores, in words; empty: none does
  std::string teacher_reader{};          // the same of teacher scores
  std::string pair_taker{};              // what would take a pair of any gold score for a positive; empty: none does
  bool single_texts = false;             // rows are texts without passages; nothing else is asked then

  int64_t group_of(int32_t source) const { return group_of_source(source_groups, source, candidates.group); }
};

/// The scores that rows of one batch have alike.
struct RowKind {
  bool gold = false, teacher = false;
  friend bool operator==(const RowKind&, const RowKind&) = default;
};

/// Throws Error (data): the row has passages.
void require_single_text(const PackedRow& row);

/// Reads rows without their ids; its memory is reused from row to row.
struct RowReading {
  PackedRow row;
  std::vector<int64_t> usable;  // the negatives to choose from (usable_negatives); empty where none are chosen
};

/// Reads the row into `read`. Throws Error (data) with row and source: candidates cannot be chosen (require_choosable()), the loss reads
/// scores that the row has not, or it would pass over a gold score that says whether the pair is a positive.
RowKind fitting_kind(const RowSource& rows, int64_t row_id, const RowNeeds& needs, RowReading& read);

}  // namespace lodestone
