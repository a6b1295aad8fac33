// Pieces as verbs in a stream of the device: enqueued behind what makes them final, beside all that follows.
#include <vector>

#include "comm/piece_reducer.h"

namespace lodestone {

namespace {

class StreamReducer final : public PieceReducer {
 public:
  StreamReducer(Communicator& comm, size_t pieces) : comm_(comm), counts_(static_cast<size_t>(comm.size())) {
    LODE_CHECK(comm.in_stream(), "a stream reducer over verbs that are in no stream");
    under_way_.reserve(pieces);
  }

  bool start(Tensor piece, std::span<const Slice> kept) override {
    if (kept.empty()) {
      under_way_.push_back(comm_.all_reduce(piece, piece, Reduce::sum));
    } else {
      for (size_t r = 0; r < counts_.size(); ++r) counts_[r] = kept[r].count();
      under_way_.push_back(comm_.reduce_scatter(piece, piece.slice(kept[static_cast<size_t>(comm_.rank())]), counts_));
    }
    ++started_;
    return true;
  }

  int64_t advance() override { return completed_; }

  // The last one first, behind which all others lie: waiting for these then does nothing.
  void close() override {
    for (; !under_way_.empty(); under_way_.pop_back()) under_way_.back().wait();
    completed_ = started_;
  }

 private:
  Communicator& comm_;
  std::vector<int64_t> counts_;
  std::vector<Pending> under_way_;
  int64_t started_ = 0, completed_ = 0;
};

}  // namespace

std::unique_ptr<PieceReducer> make_stream_reducer(Communicator& comm, size_t pieces) {
  return std::make_unique<StreamReducer>(comm, pieces);
}

}  // namespace lodestone
