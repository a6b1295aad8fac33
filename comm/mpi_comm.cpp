#include "comm/mpi_comm.h"

#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

#include <algorithm>
#include <bit>
#include <climits>
#include <cstring>
#include <vector>

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
    LODE_CHECK(in.count() == out.count() && in.dtype() == out.dtype(), "all_reduce: input ", in.shape(), " ", name_of(in.dtype()),
               ", output ", out.shape(), " ", name_of(out.dtype()));
    need_host("all_reduce", in, out);
    need_reducible("all_reduce", in.dtype());
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
    const int64_t total = check_counts("all_gather", counts, in.count());
    LODE_CHECK(out.count() == total && in.dtype() == out.dtype(), "all_gather: counts sum to ", total, " ", name_of(in.dtype()),
               ", output ", out.shape(), " ", name_of(out.dtype()));
    need_host("all_gather", in, out);
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
    const int64_t total = check_counts("reduce_scatter", counts, out.count());
    LODE_CHECK(in.count() == total && in.dtype() == out.dtype(), "reduce_scatter: counts sum to ", total, " ", name_of(out.dtype()),
               ", input ", in.shape(), " ", name_of(in.dtype()));
    LODE_CHECK(out.empty() || out.bytes() + out.size_bytes() <= in.bytes() || in.bytes() + in.size_bytes() <= out.bytes(),
               "reduce_scatter: input and output overlap");
    need_host("reduce_scatter", in, out);
    need_reducible("reduce_scatter", in.dtype());
    if (total == 0) return {};
    Ticket t = ticket("reduce_scatter", in.size_bytes());
    t.table = take_table(counts);
    check(MPI_Ireduce_scatter(in.bytes(), out.bytes(), tables_[static_cast<size_t>(t.table)].counts.data(), mpi_type(in.dtype()), MPI_SUM,
                              comm_, &t.request),
          "MPI_Ireduce_scatter");
    return pending(t);
  }

  Pending broadcast(Tensor data, int root) override {
    LODE_CHECK(0 <= root && root < size_, "broadcast: root ", root, " of ", size_, " ranks");
    need_host("broadcast", data, data);
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

  static void need_host(const char* verb, ConstTensor in, ConstTensor out) {
    LODE_CHECK(in.device() == Device::cpu && out.device() == Device::cpu, verb, ": needs host tensors");
  }
  static void need_reducible(const char* verb, DType t) {
    LODE_CHECK(t != DType::bf16, verb, ": bf16 would be rounded once for each rank; reduce in f32");
  }

  int64_t check_counts(const char* verb, std::span<const int64_t> counts, int64_t mine) const {
    LODE_CHECK(counts.size() == static_cast<size_t>(size_), verb, ": ", counts.size(), " counts for ", size_, " ranks");
    int64_t total = 0;
    for (const int64_t n : counts) {
      LODE_CHECK(n >= 0, verb, ": a negative count ", n);
      total += n;
    }
    LODE_CHECK(counts[static_cast<size_t>(rank_)] == mine, verb, ": rank ", rank_, " has ", mine, " elements, its count is ",
               counts[static_cast<size_t>(rank_)]);
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
