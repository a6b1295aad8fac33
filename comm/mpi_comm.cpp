#include "comm/mpi_comm.h"

#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

#include <algorithm>
#include <bit>
#include <climits>
#include <cstring>
#include <vector>

#include "comm/verb_checks.h"
#include "comm/wait.h"

namespace lodestone {

namespace {

constexpr int64_t max_count = int64_t{1} << 30;  // elements of one MPI call

void check(int rc, const char* operation) {
  if (rc == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(rc, text, &length);
  throw Error(ExitCode::communication, "mpi", cat(operation, " failed: ", text),
              "look above for what mpirun says about a lost rank or network; start the same command again to go on");
}

MPI_Datatype mpi_type(DType t) {
  switch (t) {
    case DType::f64:
      return MPI_DOUBLE;
    case DType::f32:
      return MPI_FLOAT;
    case DType::bf16:
      return MPI_UINT16_T;  // moved as bits; never reduced
    case DType::i32:
      return MPI_INT32_T;
    case DType::i64:
      return MPI_INT64_T;
    case DType::u8:
      return MPI_UINT8_T;
  }
  throw_internal(__FILE__, __LINE__, "t", "no such number format");
}

MPI_Op mpi_op(Reduce op) {
  switch (op) {
    case Reduce::sum:
      return MPI_SUM;
    case Reduce::max:
      return MPI_MAX;
    case Reduce::min:
      return MPI_MIN;
  }
  throw_internal(__FILE__, __LINE__, "op", "no such reduction");
}

/// What the 16 bytes of a Pending hold.
struct Ticket {
  MPI_Request request = MPI_REQUEST_NULL;
  uint32_t number = 0;  // index into the table of recent collectives, and the number in messages
  int32_t table = -1;   // the table of counts in use, or -1
};
static_assert(sizeof(Ticket) == 16);

class MpiComm final : public Communicator {
 public:
  MpiComm(MPI_Comm owned, Watchdog* watchdog) : comm_(owned), watchdog_(watchdog) {
    check(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
    check(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
    for (CountTable& t : tables_) {
      t.counts.resize(static_cast<size_t>(size_));
      t.places.resize(static_cast<size_t>(size_));
    }
  }
  ~MpiComm() override {
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (finalized == 0) MPI_Comm_free(&comm_);
  }
  MpiComm(const MpiComm&) = delete;
  MpiComm& operator=(const MpiComm&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  std::unique_ptr<Communicator> split(int colour) override {
    LODE_CHECK(colour >= 0, "split: colour ", colour, " is negative");
    const auto phase = Watchdog::Phase(watchdog_, {"split"});
    MPI_Comm part = MPI_COMM_NULL;
    check(MPI_Comm_split(comm_, colour, rank_, &part), "MPI_Comm_split");
    return std::make_unique<MpiComm>(part, watchdog_);
  }

  Pending all_reduce(ConstTensor in, Tensor out, Reduce op) override {
    verbs::check_all_reduce(in, out);
    verbs::check_device("all_reduce", Device::cpu, in, out);
    const int64_t n = in.count();
    Pending last;
    for (int64_t begin = 0; begin < n; begin += max_count) {
      last.wait();
      const Slice piece{begin, std::min(begin + max_count, n)};
      const ConstTensor from = in.slice(piece);
      const Tensor to = out.slice(piece);
      Ticket t = ticket("all_reduce", from.size_bytes());
      check(MPI_Iallreduce(from.bytes() == to.bytes() ? MPI_IN_PLACE : from.bytes(), to.bytes(), static_cast<int>(piece.count()),
                           mpi_type(in.dtype()), mpi_op(op), comm_, &t.request),
            "MPI_Iallreduce");
      last = pending(t);
    }
    return last;
  }

  Pending all_gather(ConstTensor in, Tensor out, std::span<const int64_t> counts) override {
    const int64_t total = in_reach("all_gather", verbs::check_all_gather(in, out, counts, rank_, size_));
    verbs::check_device("all_gather", Device::cpu, in, out);
    if (total == 0) return {};
    Ticket t = ticket("all_gather", out.size_bytes());
    t.table = take_table(counts);
    const CountTable& table = tables_[static_cast<size_t>(t.table)];
    const size_t me = static_cast<size_t>(rank_);
    const bool in_place = in.bytes() == out.bytes() + static_cast<size_t>(table.places[me]) * size_of(in.dtype());
    check(MPI_Iallgatherv(in_place ? MPI_IN_PLACE : in.bytes(), table.counts[me], mpi_type(in.dtype()), out.bytes(), table.counts.data(),
                          table.places.data(), mpi_type(in.dtype()), comm_, &t.request),
          "MPI_Iallgatherv");
    return pending(t);
  }

  Pending reduce_scatter(ConstTensor in, Tensor out, std::span<const int64_t> counts) override {
    const int64_t total = in_reach("reduce_scatter", verbs::check_reduce_scatter(in, out, counts, rank_, size_));
    verbs::check_device("reduce_scatter", Device::cpu, in, out);
    if (total == 0) return {};
    Ticket t = ticket("reduce_scatter", in.size_bytes());
    t.table = take_table(counts);
    check(MPI_Ireduce_scatter(in.bytes(), out.bytes(), tables_[static_cast<size_t>(t.table)].counts.data(), mpi_type(in.dtype()), MPI_SUM,
                              comm_, &t.request),
          "MPI_Ireduce_scatter");
    return pending(t);
  }

  Pending broadcast(Tensor data, int root) override {
    verbs::check_broadcast(root, size_);
    verbs::check_device("broadcast", Device::cpu, data, data);
    const int64_t n = data.count();
    Pending last;
    for (int64_t begin = 0; begin < n; begin += max_count) {
      last.wait();
      const Tensor piece = data.slice({begin, std::min(begin + max_count, n)});
      Ticket t = ticket("broadcast", piece.size_bytes());
      check(MPI_Ibcast(piece.bytes(), static_cast<int>(piece.count()), mpi_type(data.dtype()), root, comm_, &t.request), "MPI_Ibcast");
      last = pending(t);
    }
    return last;
  }

  void barrier() override {
    Ticket t = ticket("barrier", 0);
    check(MPI_Ibarrier(comm_, &t.request), "MPI_Ibarrier");
    pending(t).wait();
  }

 protected:
  void wait(std::span<std::byte, 16> request) override {
    if (test(request)) return;
    const Recent& what = recent_[load(request).number % recent_.size()];
    const auto phase = Watchdog::Phase(watchdog_, {what.verb, static_cast<int64_t>(what.bytes), load(request).number});
    Patience patience;
    while (!test(request)) patience.pause();
  }

  bool test(std::span<std::byte, 16> request) override {
    Ticket t = load(request);
    int done = 0;
    check(MPI_Test(&t.request, &done, MPI_STATUS_IGNORE), recent_[t.number % recent_.size()].verb);
    std::memcpy(request.data(), &t, sizeof t);
    if (done != 0 && t.table >= 0) tables_[static_cast<size_t>(t.table)].busy = false;
    return done != 0;
  }

 private:
  struct Recent {
    const char* verb = "";
    size_t bytes = 0;
  };
  /// Counts and places of one gather or scatter; MPI reads them until it completes.
  struct CountTable {
    std::vector<int> counts, places;
    bool busy = false;
  };

  static Ticket load(std::span<const std::byte, 16> request) {
    Ticket t;
    std::memcpy(&t, request.data(), sizeof t);
    return t;
  }

  Ticket ticket(const char* verb, size_t bytes) {
    Ticket t;
    t.number = next_number_++;
    recent_[t.number % recent_.size()] = {verb, bytes};
    return t;
  }

  Pending pending(const Ticket& t) { return Pending(this, std::bit_cast<std::array<std::byte, 16>>(t)); }

  /// The elements of a gather or scatter, which MPI counts in int.
  static int64_t in_reach(const char* verb, int64_t total) {
    LODE_CHECK(total <= INT_MAX, verb, ": ", total, " elements in all, MPI takes at most ", INT_MAX);
    return total;
  }

  int32_t take_table(std::span<const int64_t> counts) {
    for (size_t i = 0; i < tables_.size(); ++i) {
      CountTable& t = tables_[i];
      if (t.busy) continue;
      int place = 0;
      for (size_t r = 0; r < counts.size(); ++r) {
        t.counts[r] = static_cast<int>(counts[r]);
        t.places[r] = place;
        place += t.counts[r];
      }
      t.busy = true;
      return static_cast<int32_t>(i);
    }
    LODE_CHECK(false, "more than ", tables_.size(), " gathers and scatters under way on one communicator");
    return -1;
  }

  MPI_Comm comm_;
  Watchdog* watchdog_;
  int rank_ = 0, size_ = 1;
  uint32_t next_number_ = 0;
  std::array<Recent, 64> recent_;
  std::array<CountTable, 8> tables_;
};

}  // namespace

std::unique_ptr<Communicator> make_world_comm(Watchdog* watchdog) {
  MPI_Comm copy = MPI_COMM_NULL;
  check(MPI_Comm_dup(MPI_COMM_WORLD, &copy), "MPI_Comm_dup");
  check(MPI_Comm_set_errhandler(copy, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  return std::make_unique<MpiComm>(copy, watchdog);
}

}  // namespace lodestone
