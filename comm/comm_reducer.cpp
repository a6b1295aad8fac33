// Pieces as non-blocking all-reduces and reduce-scatters. MPI moves data only inside its calls, so advance() has to be called often.
#include <array>
#include <vector>

#include "comm/piece_reducer.h"
#include "core/buffer.h"

namespace lodestone {

namespace {

constexpr size_t places = 8;

class CommReducer final : public PieceReducer {
 public:
  CommReducer(Communicator& comm, Backend& backend, size_t part_bytes)
      : comm_(comm), backend_(backend), part_bytes_(part_bytes), counts_(static_cast<size_t>(comm.size())) {
    if (part_bytes > 0) parts_ = Buffer(backend.memory(), places * part_bytes);
  }

  // Verbs of a device plane stand behind what makes the piece final.
  bool start(Tensor piece, std::span<const Slice> kept) override {
    if (started_ - completed_ == static_cast<int64_t>(places)) return false;
    UnderWay& w = place(started_);
    if (kept.empty()) {
      w.part = {};
      w.pending = comm_.all_reduce(piece, piece, Reduce::sum);
    } else {
      for (size_t r = 0; r < counts_.size(); ++r) counts_[r] = kept[r].count();
      w.part = piece.slice(kept[static_cast<size_t>(comm_.rank())]);
      w.pending = comm_.reduce_scatter(piece, summed(started_, w.part), counts_);
    }
    ++started_;
    return true;
  }

  int64_t advance() override {
    for (int64_t k = completed_; k < started_; ++k) {  // all of them: each test gives MPI a chance
      const bool done = place(k).pending.test();
      if (!done || k != completed_) continue;
      const Tensor part = place(k).part;
      if (!part.empty()) backend_.copy(summed(k, part), part);
      ++completed_;
    }
    return completed_;
  }

 private:
  struct UnderWay {
    Pending pending;
    Tensor part;  // where the sum of this rank's part goes; empty when the sum is made in place
  };
  UnderWay& place(int64_t k) { return under_way_[static_cast<size_t>(k) % places]; }
  /// Memory for the sum of a part: the library may not write into the piece that it reads.
  Tensor summed(int64_t k, Tensor part) const {
    LODE_CHECK(part.size_bytes() <= part_bytes_, "reduce: a part of ", part.size_bytes(), " bytes, room for ", part_bytes_);
    return Tensor(parts_.data() + static_cast<size_t>(k) % places * part_bytes_, part.dtype(), part.shape(), backend_.device());
  }

  Communicator& comm_;
  Backend& backend_;
  size_t part_bytes_;
  Buffer parts_;
  std::vector<int64_t> counts_;
  std::array<UnderWay, places> under_way_;
  int64_t started_ = 0, completed_ = 0;
};

}  // namespace

std::unique_ptr<PieceReducer> make_comm_reducer(Communicator& comm, Backend& backend, size_t part_bytes) {
  return std::make_unique<CommReducer>(comm, backend, part_bytes);
}

}  // namespace lodestone
