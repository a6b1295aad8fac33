#include "comm/world.h"

#define OMPI_SKIP_MPICXX 1
#include <dlfcn.h>
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <initializer_list>
#include <span>
#include <thread>
#include <utility>

#include "comm/mpi_comm.h"
#include "core/error.h"
#include "core/host_name.h"

namespace lodestone {

namespace {

constexpr auto time_to_arrive = std::chrono::milliseconds(500);  // of ranks that fail alike
constexpr auto time_to_be_ended = std::chrono::seconds(3);

bool started_by_mpirun() { return std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr; }

/// Open MPI 4 tells of MPI_Abort in eight lines, which say less than our error line. Its parameter orte_execute_quiet, which
/// `mpirun --quiet` sets too, is set here as late as can be, so that its other messages are seen. Elsewhere there is no such name, and
/// nothing is done.
void silence_abort() {
  if (auto* quiet = static_cast<bool*>(dlsym(RTLD_DEFAULT, "orte_execute_quiet"))) *quiet = true;
}

/// The first of these variables of the environment that is set, or null.
const char* first_set(std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (const char* value = std::getenv(name); value != nullptr) return value;
  return nullptr;
}

/// The rank that a launcher which speaks MPI has given this process, or null: mpirun, or srun --mpi=pmix / pmi2.
const char* launched_rank() { return first_set({"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"}); }

/// What only the ranks of this job have in their environment, or empty.
std::string job_name() {
  const char* name = first_set({"PMIX_NAMESPACE", "PMI_JOBID"});
  return name == nullptr ? "" : name;
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

/// A communicator that is used once the others cannot be trusted, with what an operation that is never waited for may still write.
struct World::Parting {
  Parting() { MPI_Comm_dup(MPI_COMM_WORLD, &ranks); }
  ~Parting() {
    if (mpi_running()) MPI_Comm_free(&ranks);
  }
  bool all_say(uint64_t word);

  MPI_Comm ranks = MPI_COMM_NULL;
  uint64_t own[2] = {}, most[2] = {};
};

bool World::Parting::all_say(uint64_t word) {
  own[0] = word;
  own[1] = ~word;
  MPI_Request request = MPI_REQUEST_NULL;
  if (MPI_Iallreduce(own, most, 2, MPI_UINT64_T, MPI_MAX, ranks, &request) != MPI_SUCCESS) return false;
  const auto end = std::chrono::steady_clock::now() + time_to_arrive;
  for (int arrived = 0;;) {
    if (MPI_Test(&request, &arrived, MPI_STATUS_IGNORE) != MPI_SUCCESS) return false;
    if (arrived != 0) return most[0] == word && most[1] == ~word;
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

World::World(int& argc, char**& argv, double hang_limit_s) : host_(host_name()) {
  const bool running = mpi_running();
  const char* const launched = launched_rank();
  if (!running && launched == nullptr) refuse_unrelated_copies();
  if (running) MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  if (!running && launched != nullptr) rank_ = std::atoi(launched);
  watchdog_ = std::make_unique<Watchdog>(hang_limit_s, cat("rank=", rank_, " host=", host_), job_name());
  owns_mpi_ = !running && launched != nullptr;
  if (running || owns_mpi_) start_mpi(argc, argv);
  if (comm_ == nullptr) comm_ = make_self_comm();
  if (host_comm_ == nullptr) host_comm_ = make_self_comm();
}

void World::start_mpi(int& argc, char**& argv) {
  const auto start = watchdog_->watch({"the start of MPI"});
  if (owns_mpi_) {
    int provided = 0;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
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
  comm_ = size_ == 1 ? make_self_comm() : make_world_comm(watchdog_.get());
  host_comm_ = size_ == 1 ? make_self_comm() : comm_->split(first_on_host);
  if (size_ > 1) {
    watchdog_->share(StatusBoard::make(*host_comm_, rank_));
    parting_ = std::make_unique<Parting>();
  }
  if (owns_mpi_) hide_segments();
}

void World::hide_segments() {
  MpiSegments segments = MpiSegments::of_this_process();
  auto fewest = static_cast<int64_t>(segments.count());
  all_reduce(*host_comm_, std::span(&fewest, 1), Reduce::min);
  if (local_rank_ != 0 || fewest != local_size_) return;
  segments.hide();
  hidden_ = std::move(segments);
}

void World::meet_on_host() noexcept {
  try {
    host_comm_->barrier();
  } catch (const Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    abort(static_cast<int>(error.exit_code()));
  }
}

World::~World() {
  // MPI_Finalize waits for all ranks. With an exception under way they may be stuck elsewhere: leave without it, and the
  // launcher counts this rank as failed.
  const bool orderly = std::uncaught_exceptions() == 0;
  if (orderly) {
    watchdog_->leave();
    hidden_.show();
    if (owns_mpi_) meet_on_host();  // every name is there before any rank removes its own
  }
  parting_.reset();
  host_comm_.reset();
  comm_.reset();
  if (!owns_mpi_ || !orderly) return;
  const auto end = watchdog_->watch({"the end of MPI"});
  MPI_Finalize();
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

void World::abort(int exit_code) const {
  watchdog_->leave();
  std::fflush(nullptr);
  if (mpi_running()) {
    silence_abort();
    MPI_Abort(MPI_COMM_WORLD, exit_code);
  }
  _exit(exit_code);
}

bool World::all_say(uint64_t word) { return parting_ == nullptr || parting_->all_say(word); }

void World::leave(int exit_code) {
  watchdog_->leave();
  std::fflush(nullptr);
  if (!mpi_running()) _exit(exit_code);
  // Under mpirun an abort is silent, and ends that are failures are not; under srun it is the other way round.
  if (started_by_mpirun()) {
    if (rank_ == 0) abort(exit_code);
    std::this_thread::sleep_for(time_to_be_ended);
  } else {
    all_say(0);  // what they had to say is written: srun --kill-on-bad-exit ends the others when the first one leaves
  }
  _exit(exit_code);
}

}  // namespace lodestone
