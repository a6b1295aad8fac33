// How held-out rows are cut into batches.
#include "data/heldout.h"

#include <algorithm>

#include "core/error.h"

namespace lodestone {

namespace {

struct HeldOutRow {
  int64_t id = 0;
  bool in_batch_negatives = true;   // of its source
};

/// Rows of the sources asked for, in their order in the corpus.
std::vector<HeldOutRow> rows_of(const RowSource& rows, const HeldOutConfig& config) {
  std::vector<HeldOutRow> all;
  for (size_t s = 0; s < rows.sources().size(); ++s) {
    const CorpusSource& source = rows.sources()[s];
    if (!selects(config.only, source.name)) continue;
    const bool in_batch_negatives = traits_of(source.name, config.rules).in_batch_negatives;
    for (int64_t k = 0; k < source.rows; ++k) all.push_back({rows.row_of(static_cast<int32_t>(s), k), in_batch_negatives});
  }
  std::sort(all.begin(), all.end(), [](const HeldOutRow& a, const HeldOutRow& b) { return a.id < b.id; });
  if (all.empty() && !config.only.empty())
    throw Error(ExitCode::usage, "sources", cat("no held-out row is of a source \"", config.only.front(), "\""), "hold out rows of the sources that data.sources names");
  return all;
}

int64_t batches_for(int64_t rows, int64_t global_batch) { return (rows + global_batch - 1) / global_batch; }

}  // namespace

HeldOut::HeldOut(const RowSource& rows, RowCollator& collator, const HeldOutConfig& config, int rank, int world) {
  require_ranks_for_batch(config.global_batch, world);
  LODE_CHECK(collator.purpose() == Purpose::evaluation, "held-out batches have no dropout");
  const std::vector<HeldOutRow> all = rows_of(rows, config);
  global_rows_ = std::min(std::ssize(all), config.max_rows);
  std::vector<int64_t> with, without;   // in-batch negatives
  for (int64_t i = 0; i < global_rows_; ++i) {
    const HeldOutRow& row = all[static_cast<size_t>(i * std::ssize(all) / global_rows_)];
    (row.in_batch_negatives ? with : without).push_back(row.id);
  }
  const std::vector<int64_t>& first = with.empty() ? without : with;
  const int64_t count = batches_for(std::ssize(first), config.global_batch);
  if (count == 0 || std::ssize(first) / count < world) {
    throw Error(ExitCode::usage, "F13", cat("held-out batches of ", count == 0 ? 0 : std::ssize(first) / count, " rows (", global_rows_, " in all) are too small for ", world, " ranks"),
                "hold out more rows, or use fewer ranks");
  }
  const auto cut = [&](std::span<const int64_t> ids, bool in_batch_negatives) {
    const auto parts = static_cast<int>(batches_for(std::ssize(ids), config.global_batch));
    for (int i = 0; i < parts; ++i) {
      const RankRows part = rank_rows(std::ssize(ids), i, parts);
      collator.collate(rows, {.rows = ids.subspan(static_cast<size_t>(part.begin), static_cast<size_t>(part.end - part.begin)), .rank = rank, .world = world, .in_batch_negatives = in_batch_negatives},
                       batches_.emplace_back());
    }
  };
  cut(with, true);
  cut(without, false);
}

}  // namespace lodestone
