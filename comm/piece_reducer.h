// PieceReducer: sums a stream of pieces over ranks, in place, moving data only when asked and never waiting.
#pragma once

#include <memory>

#include "comm/communicator.h"
#include "core/backend.h"

namespace lodestone {

/// Every rank starts pieces of the same counts and dtype (f32 or f64) in the same order; they complete in that order: what the host does,
/// or enqueues, from then on finds their sums. Sums are the same bits on every rank that has them. Nothing is allocated after construction.
class PieceReducer {
 public:
  virtual ~PieceReducer() = default;
  /// Starts the sum of `piece` [n] over ranks. False when as many pieces are under way as there is room for.
  /// Until it is complete the piece may not be touched. `kept` is empty: every rank gets the whole sum. Or it gives every rank of
  /// the communicator its part of the piece, the parts side by side in the order of ranks: each rank then gets the sum of its
  /// part, and the rest of its piece is of no use afterwards. `kept` must stay where it is until the piece is complete. The piece holds its
  /// values when what was enqueued so far is done.
  virtual bool start(Tensor piece, std::span<const Slice> kept) = 0;
  /// Moves data as far as possible without waiting; returns the number of pieces completed since construction.
  virtual int64_t advance() = 0;
  /// No piece follows in this step. Completes those that are summed in a stream of the device, without waiting; others are advance()'s.
  virtual void close() {}
};

/// Non-blocking all-reduces of `comm`, a device plane of `backend` which nobody else may use meanwhile; reduce-scatters where parts are
/// kept, through memory of its own for parts of at most part_bytes.
std::unique_ptr<PieceReducer> make_comm_reducer(Communicator& comm, Backend& backend, size_t part_bytes);

/// The same verbs of a communicator that is in_stream(), in place: each is enqueued where its piece is started, and nothing waits for it
/// before close(). Steps of at most `pieces` pieces.
std::unique_ptr<PieceReducer> make_stream_reducer(Communicator& comm, size_t pieces);

/// A small ring in memory that the ranks of `host` share: no messages, each rank adds its share of every piece, in rank order.
/// Where parts are kept a rank copies only its own part of the sums; `rank` is this rank's place among the parts. With several hosts,
/// `across` joins the ranks that have the same rank in their `host`, one per host, and sums each share over the hosts by non-blocking
/// all-reduces; null when there is one host. Collective over `host`. Null, on every rank of `host`, where SharedMemory is (see there).
/// Pieces lie in the host's memory, and `backend` says when they are final.
std::unique_ptr<PieceReducer> make_shared_reducer(Communicator& host, Backend& backend, int rank, size_t piece_bytes,
                                                  std::unique_ptr<Communicator> across);

}  // namespace lodestone
