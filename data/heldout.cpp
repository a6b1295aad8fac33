// How held-out rows are cut into batches.
#include "data/heldout.h"

#include <algorithm>

#include "core/error.h"
#include "data/source_rules.h"

namespace lodestone {

namespace {

/// Rows of the sources asked for, in their order in the corpus.
std::vector<int64_t> rows_of(const RowSource& rows, std::span<const std::string> only) {
  std::vector<int64_t> ids;
  for (size_t s = 0; s < rows.sources().size(); ++s) {
    const CorpusSource& source = rows.sources()[s];
    if (!selects(only, source.name)) continue;
    for (int64_t k = 0; k < source.rows; ++k) ids.push_back(rows.row_of(static_cast<int32_t>(s), k));
  }
  std::sort(ids.begin(), ids.end());
  if (ids.empty() && !only.empty())
    throw Error(ExitCode::usage, "sources", cat("no held-out row is of a source \"", only.front(), "\""), "hold out rows of the sources that data.sources names");
  return ids;
}

}  // namespace

HeldOut::HeldOut(const RowSource& rows, RowCollator& collator, const HeldOutConfig& config, int rank, int world) {
  require_ranks_for_batch(config.global_batch, world);
  LODE_CHECK(collator.purpose() == Purpose::evaluation, "held-out batches have no dropout");
  const std::vector<int64_t> all = rows_of(rows, config.only);
  global_rows_ = std::min(std::ssize(all), config.max_rows);
  const int64_t count = (global_rows_ + config.global_batch - 1) / config.global_batch;
  if (count == 0 || global_rows_ / count < world) {
    throw Error(ExitCode::usage, "F13", cat("held-out batches of ", count == 0 ? 0 : global_rows_ / count, " rows (", global_rows_, " in all) are too small for ", world, " ranks"),
                "hold out more rows, or use fewer ranks");
  }
  batches_.resize(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const RankRows cut = rank_rows(global_rows_, static_cast<int>(i), static_cast<int>(count));
    std::vector<int64_t> ids(static_cast<size_t>(cut.end - cut.begin));
    for (size_t k = 0; k < ids.size(); ++k) ids[k] = all[static_cast<size_t>((cut.begin + static_cast<int64_t>(k)) * std::ssize(all) / global_rows_)];
    collator.collate(rows, {.rows = ids, .rank = rank, .world = world}, batches_[static_cast<size_t>(i)]);
  }
}

}  // namespace lodestone
