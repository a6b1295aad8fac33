#include "comm/world.h"

#define OMPI_SKIP_MPICXX 1
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "comm/mpi_comm.h"
#include "core/error.h"

namespace lodestone {

namespace {

constexpr double default_hang_limit_s = 600;

std::string host_name() {
  char name[256] = "";
  gethostname(name, sizeof name - 1);
  return name;
}

/// Whether a launcher that speaks MPI started this process: mpirun, or srun --mpi=pmix / pmi2.
bool started_by_mpi_launcher() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"})
    if (std::getenv(name) != nullptr) return true;
  return false;
}

/// srun without an MPI plug-in starts unrelated copies that would all write the same files. The first of them says so.
void refuse_unrelated_copies() {
  const char* tasks = std::getenv("SLURM_STEP_NUM_TASKS");
  if (tasks == nullptr || std::atoi(tasks) <= 1) return;
  const char* copy = std::getenv("SLURM_PROCID");
  if (copy != nullptr && std::atoi(copy) != 0) _exit(static_cast<int>(ExitCode::usage));
  throw Error(ExitCode::usage, "launcher", cat("srun started ", tasks, " processes that do not know of each other"),
              "use `srun --mpi=pmix`, or mpirun inside the allocation")
      .at("host", host_name());
}

bool mpi_running() {
  int initialized = 0, finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  return initialized != 0 && finalized == 0;
}

}  // namespace

World::World(int& argc, char**& argv) : host_(host_name()) {
  const bool running = mpi_running();
  if (!running && !started_by_mpi_launcher()) {
    refuse_unrelated_copies();
    watchdog_ = std::make_unique<Watchdog>(default_hang_limit_s, cat("rank=0 host=", host_));
    comm_ = make_self_comm();
    host_comm_ = make_self_comm();
    return;
  }
  if (!running) {
    int provided = 0;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
    owns_mpi_ = true;
    LODE_CHECK(provided >= MPI_THREAD_FUNNELED, library_version(), " does not allow threads beside MPI");
  }
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  MPI_Comm host_ranks = MPI_COMM_NULL;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &host_ranks);
  MPI_Comm_rank(host_ranks, &local_rank_);
  MPI_Comm_size(host_ranks, &local_size_);
  int first_on_host = rank_;
  MPI_Bcast(&first_on_host, 1, MPI_INT, 0, host_ranks);
  MPI_Comm_free(&host_ranks);
  watchdog_ = std::make_unique<Watchdog>(default_hang_limit_s, cat("rank=", rank_, " host=", host_));
  if (size_ == 1) {
    comm_ = make_self_comm();
    host_comm_ = make_self_comm();
    return;
  }
  comm_ = make_world_comm(watchdog_.get());
  host_comm_ = comm_->split(first_on_host);
  watchdog_->share(StatusBoard::make(*host_comm_, rank_));
}

World::~World() {
  host_comm_.reset();
  comm_.reset();
  // MPI_Finalize waits for all ranks. With an exception under way they may be stuck elsewhere: leave without it, and the
  // launcher counts this rank as failed.
  if (owns_mpi_ && std::uncaught_exceptions() == 0) MPI_Finalize();
}

std::string World::library_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = "";
  int length = 0;
  MPI_Get_library_version(text, &length);
  std::string version(text, static_cast<size_t>(length));  // "Open MPI v4.1.4, package: ..."
  version.resize(std::min(version.find(','), version.size()));
  if (const size_t v = version.rfind(" v"); v != std::string::npos) version.erase(v + 1, 1);
  return version;
}

void World::abort(int exit_code) {
  std::fflush(nullptr);
  if (mpi_running()) MPI_Abort(MPI_COMM_WORLD, exit_code);
  _exit(exit_code);
}

}  // namespace lodestone
