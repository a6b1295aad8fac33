// Pieces as non-blocking all-reduces. MPI moves data only inside its calls, so advance() has to be called often.
#include <array>

#include "comm/piece_reducer.h"

namespace lodestone {

namespace {

class CommReducer final : public PieceReducer {
 public:
  explicit CommReducer(Communicator& comm) : comm_(comm) {}

  bool start(Tensor piece) override {
    if (started_ - completed_ == static_cast<int64_t>(under_way_.size())) return false;
    slot(started_) = comm_.all_reduce(piece, piece, Reduce::sum);
    ++started_;
    return true;
  }

  int64_t advance() override {
    for (int64_t k = completed_; k < started_; ++k) {  // all of them: each test gives MPI a chance
      const bool done = slot(k).test();
      if (done && k == completed_) ++completed_;
    }
    return completed_;
  }

 private:
  Pending& slot(int64_t k) { return under_way_[static_cast<size_t>(k) % under_way_.size()]; }

  Communicator& comm_;
  std::array<Pending, 8> under_way_;
  int64_t started_ = 0, completed_ = 0;
};

}  // namespace

std::unique_ptr<PieceReducer> make_comm_reducer(Communicator& comm) { return std::make_unique<CommReducer>(comm); }

}  // namespace lodestone
