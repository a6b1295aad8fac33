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

/// A small ring in memory that the ranks of `host` share: no messages, each rank adds its share of every piece, in rank order.
/// With several hosts, `across` joins the ranks that have the same rank in their `host`, one per host, and sums each share over
/// the hosts by non-blocking all-reduces; null when there is one host. Collective over `host`. Null, on every rank of `host`,
/// where SharedMemory is (see there).
std::unique_ptr<PieceReducer> make_shared_reducer(Communicator& host, size_t piece_bytes, std::unique_ptr<Communicator> across);

}  // namespace lodestone
