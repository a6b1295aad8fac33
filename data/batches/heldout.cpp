// How held-out rows are cut into batches.
#include "data/batches/heldout.h"

#include <algorithm>

#include "core/error.h"

namespace lodestone {

namespace {

/// Rows that may share a batch.
struct Kind {
  bool in_batch_negatives = true;
  int64_t group = 1;
  RowKind scores{};
  friend bool operator==(const Kind&, const Kind&) = default;
};
struct RowsOfKind {
  Kind kind;
  std::vector<int64_t> ids;
};

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
    throw Error(ExitCode::usage, "sources", cat("no held-out row is of a source \"", only.front(), "\""),
                "hold out rows of the sources that data.sources names");
  return ids;
}

/// The rows by kind, those with in-batch negatives first, otherwise as they come.
std::vector<RowsOfKind> by_kind(const RowSource& rows, std::span<const int64_t> ids, const HeldOutConfig& config) {
  std::vector<RowsOfKind> kinds;
  RowReading read;
  const PackedRow& row = read.row;
  for (const int64_t id : ids) {
    const RowKind scores = fitting_kind(rows, id, config.needs, read);
    const std::string& source = rows.sources().at(static_cast<size_t>(row.source)).name;
    const Kind kind{traits_of(source, config.rules).in_batch_negatives, config.needs.group_of(row.source), scores};
    auto same = std::find_if(kinds.begin(), kinds.end(), [&](const RowsOfKind& k) { return k.kind == kind; });
    if (same == kinds.end()) same = kinds.insert(same, {kind, {}});
    same->ids.push_back(id);
  }
  std::stable_partition(kinds.begin(), kinds.end(), [](const RowsOfKind& k) { return k.kind.in_batch_negatives; });
  return kinds;
}

int64_t batches_for(int64_t rows, int64_t global_batch) { return (rows + global_batch - 1) / global_batch; }

}  // namespace

HeldOut::HeldOut(const RowSource& rows, RowCollator& collator, const HeldOutConfig& config, int rank, int world) {
  require_ranks_for_batch(config.global_batch, world);
  LODE_CHECK(collator.purpose() == Purpose::evaluation, "held-out batches have no dropout");
  const std::vector<int64_t> all = rows_of(rows, config.only);
  global_rows_ = std::min(std::ssize(all), config.max_rows);
  std::vector<int64_t> taken;
  for (int64_t i = 0; i < global_rows_; ++i) taken.push_back(all[static_cast<size_t>(i * std::ssize(all) / global_rows_)]);
  const std::vector<RowsOfKind> kinds = by_kind(rows, taken, config);
  int64_t fullest = 0;
  for (const RowsOfKind& k : kinds) fullest = std::max(fullest, std::ssize(k.ids) / batches_for(std::ssize(k.ids), config.global_batch));
  if (fullest < world)
    throw Error(ExitCode::usage, "F13",
                cat("held-out batches of ", fullest, " rows (", global_rows_, " in all) are too small for ", world, " ranks"),
                "hold out more rows, or use fewer ranks");
  for (const RowsOfKind& k : kinds) {
    const std::span<const int64_t> ids = k.ids;
    const auto parts = static_cast<int>(batches_for(std::ssize(ids), config.global_batch));
    for (int i = 0; i < parts; ++i) {
      const RankRows part = rank_rows(std::ssize(ids), i, parts);
      judged_.push_back(!k.kind.scores.gold || !config.needs.gold_reader.empty());
      collator.collate(rows,
                       {.rows = ids.subspan(static_cast<size_t>(part.begin), static_cast<size_t>(part.end - part.begin)),
                        .rank = rank,
                        .world = world,
                        .in_batch_negatives = k.kind.in_batch_negatives},
                       batches_.emplace_back());
    }
  }
}

size_t HeldOut::memory_bytes() const {
  size_t bytes = 0;
  for (const Batch& batch : batches_) bytes += batch.memory_bytes();
  return bytes;
}

}  // namespace lodestone
