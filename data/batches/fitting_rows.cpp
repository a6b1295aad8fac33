#include "data/batches/fitting_rows.h"

#include <cmath>

#include "core/error.h"

namespace lodestone {

namespace {

Error missing(const char* what, const std::string& reader, const std::string& source, const char* give) {
  return Error(ExitCode::data, "row", cat("the row has no ", what, ", which the loss reads (", reader, ")"),
               cat("give every row of the source ", source, " ", give, ", leave the source out with data.sources, or choose another loss"));
}

RowKind kind_of(RowReading& read, const std::string& source, const RowNeeds& needs) {
  const PackedRow& row = read.row;
  read.usable.clear();
  if (needs.single_texts) {
    require_single_text(row);
    return {};
  }
  const RowKind kind{!std::isnan(row.score), !row.teacher_scores.empty()};
  if (!needs.teacher_reader.empty() && !kind.teacher)
    throw missing("teacher scores", needs.teacher_reader, source, "teacher_scores (or pos_scores and neg_scores)");
  if (!needs.gold_reader.empty() && !kind.gold) throw missing("gold score", needs.gold_reader, source, "a score");
  if (!needs.pair_taker.empty() && kind.gold)
    throw Error(ExitCode::data, "row",
                cat("the pair has a gold score, which is not read here (", needs.pair_taker,
                    "): every pair would be a positive, whatever its score"),
                "set data.positive_score_min to the score from which a pair is a positive, or loss.name to cosent");
  CandidateConfig candidates = needs.candidates;
  candidates.group = needs.group_of(row.source);
  require_choosable(row, candidates, read.usable);
  return kind;
}

}  // namespace

void require_single_text(const PackedRow& row) {
  if (row.positives.empty() && row.negatives.empty()) return;
  throw Error(ExitCode::data, "row", "the row has passages; RetroMAE trains on single texts", "pack rows of the form {\"text\": \"...\"}");
}

RowKind fitting_kind(const RowSource& rows, int64_t row_id, const RowNeeds& needs, RowReading& read) {
  rows.read_without_ids(row_id, read.row);
  const std::string& source = rows.sources().at(static_cast<size_t>(read.row.source)).name;
  try {
    return kind_of(read, source, needs);
  } catch (Error& error) {
    error.at("row", row_id).at("source", source);
    throw;
  }
}

}  // namespace lodestone
