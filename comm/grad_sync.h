// GradSync: sums the gradient over ranks, starting inside backward, in pieces.
#pragma once

#include <chrono>
#include <functional>
#include <vector>

#include "comm/group.h"
#include "comm/piece_reducer.h"
#include "comm/watchdog.h"
#include "core/params.h"

namespace lodestone {

/// One step: begin(grads); backward calls the hook with ranges that are final; finish(grads) returns when all of grads is the
/// sum over ranks, or where verbs are in a stream (Communicator::in_stream), when what is enqueued later finds it so. Pieces lie on a fixed
/// grid and start from the end of the vector to its front, the order in which backward finishes them, each as soon as everything from its
/// begin to the end is final. Pieces and their order therefore do not depend on which ranges the hook was given or when: a rank whose
/// backward never called it takes part all the same. Between begin and finish no verb of another communicator may wait on one rank only,
/// and where verbs are in a stream none may be started between the first piece and finish(): all communicators share it. The sums
/// themselves use their own. A world of one does nothing. The result has the same bits on all ranks, and in every run with the same number
/// of ranks.
///
/// With Update::own_slice (ZeRO stage 1) a rank gets the sum of the elements that it updates, own(), and nothing else of grads
/// is of use after finish(); share() then brings the updated parameters together. Through shared memory the sums have the same
/// bits as with Update::everywhere.
class GradSync {
 public:
  enum class Route : uint8_t { automatic, shared_memory, communicator };
  enum class Update : uint8_t { everywhere, own_slice };
  struct Options {
    int64_t piece_bytes = 0;         // 0: as the route wants them, see fitting_piece()
    Route route = Route::automatic;  // shared memory within hosts where it can be had, otherwise the communicator
    Update update = Update::everywhere;
    Watchdog* watchdog = nullptr;  // watches finish(); must outlive this
    Communicator* host = nullptr;  // the ranks of `comm` on this host (World::host_comm()): with several, each host sums first
  };
  /// One piece of the last step, in seconds since begin(), as the host sees it.
  struct PieceTime {
    Slice slice;
    double started_s = 0, done_s = 0;
  };

  /// Collective. count elements of f32 or f64 in the memory of `backend`. Shared memory serves gradients in the host's memory only. Throws
  /// Error (resource) when it is asked for and cannot be had.
  GradSync(const Group& group, Backend& backend, int64_t count, DType dtype, Options options);
  GradSync(const Group& group, Backend& backend, int64_t count, DType dtype) : GradSync(group, backend, count, dtype, Options{}) {}

  /// From now on ranges of grads [count] may be declared final. grads must stay where it is until finish().
  void begin(Tensor grads);
  /// Nothing enqueued from now on in this step adds to this range. Starts and moves on what can be; never waits. An empty range only moves
  /// on.
  void ready(Slice slice);
  /// ready() in the form that backward takes. Valid as long as this object.
  std::function<void(Slice)> hook() {
    return [this](Slice slice) { ready(slice); };
  }
  /// Declares the rest final and waits: for what is enqueued later grads is the sum over ranks, in own() at least. Sums in a stream of a
  /// device are ordered instead: the host does not stay. Returns own(). Without begin() it does the whole sum.
  Slice finish(Tensor grads);
  /// The range that this rank updates: all, or its share; shares are contiguous in the order of ranks.
  Slice own() const { return own_; }
  /// Whether ranks update shares, so that the squares of the gradient have to be added over ranks.
  bool sharded() const { return !shares_.empty(); }
  /// Collective. Gives every rank the masters that the others updated, and refreshes their rounded copy. Nothing to do with
  /// Update::everywhere. In a stream of a device they arrive beside what reads none of them (ParamStore::expect): this must not end before
  /// all have been read.
  void share(ParamStore& params);

  /// "shared memory", "shared memory, hosts by communicator", "communicator", "stream" (a communicator's verbs in one) or "none" in a world
  /// of one.
  const char* route_name() const { return route_name_; }
  /// Pieces of the last step in the order of their starts; empty in a world of one.
  std::span<const PieceTime> trace() const { return trace_; }

 private:
  /// Null, on all ranks, when the ranks of a host share no memory, or hosts have different numbers of ranks.
  std::unique_ptr<PieceReducer> shared_reducer(Communicator& control, Communicator* host, size_t piece_bytes);
  /// Cuts the vector into one share per rank, at multiples of a cache line.
  std::vector<Slice> cut_shares() const;
  double now_s() const;
  /// Bytes of a piece where none are asked for: what a cache holds, or what a link between devices is busy with.
  int64_t fitting_piece() const;
  /// The grid, once piece_ is known: trace_ and kept_.
  void cut_pieces();
  /// Parts of the parameters as share() gathers them in a stream: the shares of some ranks each.
  void cut_arrivals();
  /// Orders what is enqueued later behind the arrival of parameters before `end`, as ParamStore::expect() wants it.
  int64_t bring(ParamStore& params, int64_t end);
  /// Moves data and starts pieces until neither is possible without waiting. Returns whether all pieces are complete.
  bool pump();

  Backend& backend_;
  std::unique_ptr<Communicator> comm_;  // a device plane
  std::unique_ptr<PieceReducer> reducer_;
  Watchdog* watchdog_;
  const char* route_name_ = "none";
  int64_t count_, piece_ = 0;  // elements
  DType dtype_;
  Slice own_;
  std::vector<Slice> shares_;     // [W] what every rank updates; empty when every rank updates everything
  std::vector<int64_t> counts_;   // [W] their sizes
  std::vector<Slice> kept_;       // [pieces x W] of each piece, relative to its begin, what every rank keeps
  std::vector<PieceTime> trace_;  // one per piece; its slices are the grid
  std::vector<Slice> waiting_;    // final ranges that do not yet touch final_from_

  struct Arrival {
    Slice slice;
    std::vector<int64_t> counts;  // [W] of each rank; those of others than `slice` covers are 0
    Pending verb;
  };
  std::vector<Arrival> arrivals_;  // from the front to the end of the vector; empty where no verb is in a stream
  size_t arrived_ = 0;

  Tensor grads_;
  bool begun_ = false;
  int64_t final_from_ = 0;  // [final_from_, count) is final
  size_t started_ = 0, done_ = 0;
  int64_t completed_before_ = 0;  // what the reducer had completed at begin()
  std::chrono::steady_clock::time_point begin_time_{};
};

}  // namespace lodestone
