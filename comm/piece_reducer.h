// PieceReducer: sums a stream of pieces over ranks, in place, moving data only when asked and never waiting.
#pragma once

#include <memory>

#include "comm/communicator.h"

namespace lodestone {

/// Every rank starts pieces of the same counts and dtype (f32 or f64) in the same order; they complete in that order.
/// Sums are the same bits on every rank. Nothing is allocated after construction.
class PieceReducer {
 public:
  virtual ~PieceReducer() = default;
  /// Starts the sum of `piece` [n] over ranks. False when as many pieces are under way as there is room for.
  /// Until it is complete the piece may not be touched.
  virtual bool start(Tensor piece) = 0;
  /// Moves data as far as possible without waiting; returns the number of pieces completed since construction.
  virtual int64_t advance() = 0;
};

/// Non-blocking all-reduces of `comm`, which nobody else may use meanwhile.
std::unique_ptr<PieceReducer> make_comm_reducer(Communicator& comm);

/// A small ring in shared memory: no messages, each rank adds its share of every piece. Sums run in rank order, so they do not
/// depend on the piece size. Collective. Null, on every rank, where SharedMemory is (see there).
std::unique_ptr<PieceReducer> make_shared_reducer(Communicator& comm, size_t piece_bytes);

}  // namespace lodestone
