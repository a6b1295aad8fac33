// How held-out rows are cut into batches.
#include "data/heldout.h"

#include <algorithm>

#include "core/error.h"

namespace lodestone {

HeldOut::HeldOut(const RowSource& rows, RowCollator& collator, int64_t max_rows, int64_t global_batch, int rank, int world)
    : global_rows_(std::min(rows.rows(), max_rows)) {
  require_ranks_for_batch(global_batch, world);
  LODE_CHECK(collator.purpose() == Purpose::evaluation, "held-out batches have no dropout");
  const int64_t count = (global_rows_ + global_batch - 1) / global_batch;
  if (count == 0 || global_rows_ / count < world) {
    throw Error(ExitCode::usage, "F13", cat("held-out batches of ", count == 0 ? 0 : global_rows_ / count, " rows (", global_rows_, " in all) are too small for ", world, " ranks"),
                "hold out more rows, or use fewer ranks");
  }
  batches_.resize(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    const RankRows cut = rank_rows(global_rows_, static_cast<int>(i), static_cast<int>(count));
    std::vector<int64_t> ids(static_cast<size_t>(cut.end - cut.begin));
    for (size_t k = 0; k < ids.size(); ++k) ids[k] = (cut.begin + static_cast<int64_t>(k)) * rows.rows() / global_rows_;
    collator.collate(rows, {.rows = ids, .rank = rank, .world = world}, batches_[static_cast<size_t>(i)]);
  }
}

}  // namespace lodestone
