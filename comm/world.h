// World: MPI's lifetime, who this rank is and where it runs, and the communicator of all ranks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "comm/communicator.h"
#include "comm/mpi_segments.h"
#include "comm/watchdog.h"

namespace lodestone {

/// One per process, made in main(). Started by mpirun or srun it is a rank of many, started alone the only one.
class World {
 public:
  static constexpr double default_hang_limit_s = 600;
  /// Where ranks may have very different amounts of work before they meet.
  static constexpr double unequal_work_limit_s = 7 * 24 * 3600.0;
  /// Starts MPI (funneled: all calls from the thread that made the World), unless it is running already; MPI errors return.
  /// Started alone, MPI is not touched at all. Throws Error (usage) when srun started copies that do not know of each other.
  /// hang_limit_s: that of the watchdog, which watches the start already.
  World(int& argc, char**& argv, double hang_limit_s = default_hang_limit_s);
  /// Ends MPI if it started it. When an exception is under way, use abort() first: the other ranks are waiting.
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  int local_rank() const { return local_rank_; }  // among the ranks of this host
  int local_size() const { return local_size_; }
  const std::string& host() const { return host_; }
  /// Host-memory communicator over all ranks: MpiComm, or SelfComm when size() is 1.
  Communicator& comm() { return *comm_; }
  /// Over the ranks of this host, ordered by rank.
  Communicator& host_comm() { return *host_comm_; }
  /// Watches the start and the end of MPI and every wait of comm() and of its splits.
  Watchdog& watchdog() { return *watchdog_; }
  /// "Open MPI 4.1.4"
  static std::string library_version();
  /// Whether every rank asks within half a second, and with the same `word`. Apart from all other communication, which may be broken off.
  bool all_say(uint64_t word);
  /// Ends every rank of the job with this exit code. Does not return. The launcher adds few lines of its own: mpirun none.
  [[noreturn]] void abort(int exit_code) const;
  /// The same when every rank calls it: then srun adds the one line that tells the exit code.
  [[noreturn]] void leave(int exit_code);

 private:
  struct Parting;
  void start_mpi(int& argc, char**& argv);
  void hide_segments();
  /// An MPI error there ends all ranks, as an uncaught one would, but says why.
  void meet_on_host() noexcept;

  int rank_ = 0, size_ = 1, local_rank_ = 0, local_size_ = 1;
  bool owns_mpi_ = false;
  std::string host_;
  std::unique_ptr<Watchdog> watchdog_;  // outlives comm_
  std::unique_ptr<Communicator> comm_, host_comm_;
  std::unique_ptr<Parting> parting_;  // none in a world of one
  MpiSegments hidden_;                // by this rank
};

}  // namespace lodestone
