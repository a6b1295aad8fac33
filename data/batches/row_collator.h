// RowCollator: how rows of a corpus become the Batch of one rank, whatever is learnt from them.
#pragma once

#include <cstdint>
#include <span>

#include "core/batch.h"
#include "data/corpus/row_source.h"

namespace lodestone {

enum class Purpose : uint8_t {
  training,    // texts get the keys that name their dropout masks
  evaluation,  // no keys: dropout is off
};

/// A global batch, and which rank's share of it is wanted.
struct BatchRows {
  int64_t step = 0;
  int32_t source = 0;              // index into Plan::sources()
  std::span<const int64_t> rows;   // [N] global row ids of all ranks
  int rank = 0, world = 1;         // the rank's rows are rank_rows(N, rank, world); none where world > N
  bool in_batch_negatives = true;  // of the source
};

/// What is drawn for a row is keyed by seed, step and row, never by rank: put together over the ranks of any world, the batches are
/// those of a world of one. Errors are Error (data) with the row.
class RowCollator {
 public:
  virtual ~RowCollator() = default;
  /// Fills `out`; its memory is reused.
  virtual void collate(const RowSource& rows, const BatchRows& which, Batch& out) = 0;
  /// Tokens that collate() would give a row. Reads it.
  virtual int64_t tokens(const RowSource& rows, int64_t row_id, int64_t step) = 0;
  /// Reserves, here and in `out`, what the largest batch of B rows on W ranks needs: collate() then allocates nothing.
  virtual void reserve(int64_t queries, int world, Batch& out) = 0;
  virtual Purpose purpose() const = 0;
};

}  // namespace lodestone
