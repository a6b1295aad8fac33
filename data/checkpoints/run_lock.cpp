#include "data/checkpoints/run_lock.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <optional>
#include <sstream>

#include "core/host_name.h"
#include "data/files/open_error.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

struct Holder {
  std::string host, job;
  long pid = 0;
  unsigned long long started = 0;  // clock ticks after boot: tells a process from a later one of the same number
};

/// Field 22 of /proc/PID/stat, or 0 when there is no such process.
unsigned long long start_time(long pid) {
  std::ifstream in(cat("/proc/", pid, "/stat"));
  std::string text((std::istreambuf_iterator<char>(in)), {});
  const size_t after_name = text.rfind(')');
  if (after_name == std::string::npos) return 0;
  std::istringstream fields(text.substr(after_name + 1));
  std::string skipped;
  for (int field = 3; field < 22; ++field) fields >> skipped;
  unsigned long long ticks = 0;
  fields >> ticks;
  return ticks;
}

std::string to_text(const Holder& h) {
  return cat("host ", h.host, "\npid ", h.pid, "\nstarted ", h.started, "\njob ", h.job.empty() ? "-" : h.job, "\n");
}

std::optional<Holder> parse(const std::string& text) {
  std::istringstream in(text);
  Holder h;
  std::string k1, k2, k3, k4;
  if (!(in >> k1 >> h.host >> k2 >> h.pid >> k3 >> h.started >> k4 >> h.job) || k1 != "host" || k2 != "pid" || k3 != "started" ||
      k4 != "job")
    return std::nullopt;
  return h;
}

bool is_alive_here(const Holder& h) {
  return h.host == host_name() && (::kill(static_cast<pid_t>(h.pid), 0) == 0 || errno == EPERM) && start_time(h.pid) == h.started;
}

std::string describe(const std::optional<Holder>& h) {
  return h ? cat("host ", h->host, ", pid ", h->pid, ", job ", h->job) : std::string("a job that has not written its name yet");
}

std::string read_all(int fd) {
  std::string text(4096, '\0');
  const ssize_t n = ::pread(fd, text.data(), text.size(), 0);
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  return text;
}

[[noreturn]] void refuse(const std::optional<Holder>& holder, const fs::path& path, const char* remedy) {
  throw Error(ExitCode::storage, "F27", cat("another job is using this run folder: ", describe(holder)), remedy).at("file", path.string());
}

}  // namespace

/// A lock file that is open and locked, or why it is not.
struct RunLock::Attempt {
  Descriptor descriptor;
  int error = 0;  // of flock
};

/// Opens the file and asks the system for the lock, anew as long as the file that was opened is no longer the one of this name: the job
/// that held it may have published or removed its folder meanwhile, and a lock on a file without a name keeps nobody out.
RunLock::Attempt RunLock::attempt() const {
  constexpr int most_attempts = 100;
  for (int i = 0; i < most_attempts; ++i) {
    make_folder(path_.parent_path());
    Attempt made{.descriptor = Descriptor(::open(path_.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0666))};
    if (!made.descriptor && errno == ENOENT) continue;  // the folder went between the two calls
    if (!made.descriptor) throw open_error("cannot create the lock", path_, errno);
    made.error = ::flock(made.descriptor.get(), LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    struct stat opened {};
    if (::fstat(made.descriptor.get(), &opened) != 0) throw open_error("cannot examine the lock", path_, errno);
    if (!S_ISREG(opened.st_mode))
      throw Error(ExitCode::storage, "F21", "the lock is no regular file", "remove it").at("file", path_.string());
    if (made.error == EWOULDBLOCK) return made;
    if (is_file_of(made.descriptor.get(), path_)) return made;
  }
  throw Error(ExitCode::storage, "F27", "other jobs keep making and removing this folder", "choose another output folder")
      .at("file", path_.string());
}

RunLock::RunLock(const fs::path& run, const std::string& job) : path_(run / "lock") {
  Attempt made = attempt();
  descriptor_ = std::move(made.descriptor);
  const int error = made.error;
  const bool locked = error == 0;
  const std::optional<Holder> holder = parse(read_all(descriptor_.get()));
  if (error == EWOULDBLOCK) refuse(holder, path_, "wait for it, end it, or choose another output folder");
  if (!locked && holder && (holder->host != host_name() || is_alive_here(*holder)))  // no file locks on this file system
    refuse(holder, path_, "if that job has ended, remove the file");
  if (holder) takeover_ = cat("took over the lock of a job that has ended (", describe(holder), ")");
  const std::string mine = to_text({.host = host_name(), .job = job, .pid = ::getpid(), .started = start_time(::getpid())});
  if (::ftruncate(descriptor_.get(), 0) != 0 ||
      ::pwrite(descriptor_.get(), mine.data(), mine.size(), 0) != static_cast<ssize_t>(mine.size()))
    throw open_error("cannot write the lock", path_, errno);
}

RunLock::~RunLock() {
  // The file stays: removing it would let two later jobs hold locks on two files of one name.
  if (::ftruncate(descriptor_.get(), 0) != 0) return;  // the next job will call it a takeover
}

}  // namespace lodestone
