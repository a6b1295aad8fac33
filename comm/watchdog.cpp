#include "comm/watchdog.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstddef>
#include <utility>

#include "comm/last_words.h"
#include "comm/terminal.h"

namespace lodestone {

namespace {

using namespace std::chrono_literals;
constexpr auto time_to_be_ended = 5s;         // a launcher that has seen a rank end needs up to two
constexpr auto time_to_ask = 1s;              // ranks that start together notice within it that they wait in vain
constexpr auto time_of_a_common_end = 250ms;  // ranks that are killed together die within it

double seconds(std::chrono::steady_clock::time_point t) { return std::chrono::duration<double>(t.time_since_epoch()).count(); }

/// True for the first process of this host that asks for `job`, as long as it lives, and where that cannot be known. The name of an
/// abstract socket tells: it is gone with its process and leaves no file.
bool first_of(const std::string& job) {
  if (job.empty()) return true;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = cat("lodestone-", getuid(), "-", job);
  const size_t length = name.copy(address.sun_path + 1, sizeof address.sun_path - 1);
  const int open_until_the_end = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (open_until_the_end < 0) return true;
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + length);
  return bind(open_until_the_end, reinterpret_cast<const sockaddr*>(&address), size) == 0 || errno != EADDRINUSE;
}

Error lost_rank(int rank) {
  return Error(ExitCode::communication, "F01", cat("rank ", rank, " has ended without a word: it was killed, or has crashed"),
               "look for what ended it (the system's log names processes that took too much memory); start the same command again to go on "
               "from the last checkpoint");
}

}  // namespace

Watchdog::Watchdog(double limit_s, std::string who, std::string job) : limit_s_(limit_s), who_(std::move(who)), job_(std::move(job)) {
  // Signals go to the threads that handle them, so this one is born with all of them blocked.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void Watchdog::share(std::unique_ptr<StatusBoard> board) {
  const std::lock_guard lock(mutex_);
  board_ = std::move(board);
  if (board_ != nullptr) board_->beat(seconds(Clock::now()));
}

void Watchdog::set_limit(double limit_s) {
  {
    const std::lock_guard lock(mutex_);
    limit_s_ = limit_s;
  }
  changed_.notify_one();
}

void Watchdog::set_last_words(std::function<void(const Error&)> words) {
  const std::lock_guard lock(mutex_);
  last_words_ = std::move(words);
}

void Watchdog::leave() {
  const std::lock_guard lock(mutex_);
  if (board_ != nullptr) board_->leave();
}

Watchdog::Phase::Phase(Watchdog* dog, Operation operation) : dog_(dog), outer_(dog ? dog->replace(operation) : Operation{}) {}

Watchdog::Phase::~Phase() {
  if (dog_ != nullptr) dog_->replace(outer_);
}

Watchdog::Operation Watchdog::replace(Operation operation) {
  const std::lock_guard lock(mutex_);
  since_ = Clock::now();
  waited_s_ = 0;
  if (board_ != nullptr) board_->show(operation.operation, operation.number);
  return std::exchange(now_, operation);
}

// Looks several times per limit instead of being woken by every phase: entering a phase stays cheap. A gap between two looks counts for two
// periods at most: this process, or the whole job, was suspended meanwhile, or had no core, and nobody could have answered.
void Watchdog::run() {
  std::unique_lock lock(mutex_);
  Clock::time_point looked = Clock::now();
  while (!stopping_) {
    const double period_s = std::clamp(limit_s_ / 20, 0.005, 0.5);
    const Clock::time_point now = Clock::now();
    if (board_ != nullptr) board_->beat(seconds(now));
    waited_s_ += std::min(seconds(now) - seconds(std::max(looked, since_)), 2 * period_s);
    looked = now;
    if (overdue()) end(hang(), board_ != nullptr ? 0s : time_to_ask);
    if (board_ != nullptr && board_->lost()) {
      changed_.wait_for(lock, time_of_a_common_end, [this] { return stopping_; });
      if (!stopping_) end(lost_rank(*board_->lost()), time_to_be_ended);  // the launcher has its code, e.g. 137, from the rank itself
    } else {
      changed_.wait_for(lock, std::chrono::duration<double>(period_s));
    }
  }
}

bool Watchdog::overdue() const {
  // A rank that has left says itself why, and ends all: it is given the time.
  const double grace_s = board_ != nullptr && board_->somebody_left() ? std::chrono::duration<double>(time_to_be_ended).count() : 0;
  return now_.operation != nullptr && waited_s_ > limit_s_ + grace_s;
}

Error Watchdog::hang() const {
  std::string what = now_.operation;
  if (now_.bytes >= 0) what += cat(" of ", now_.bytes, " bytes");
  if (now_.number >= 0) what += cat(" (collective ", now_.number, ")");
  std::string missing;
  if (board_ != nullptr) missing = board_->others(now_.operation, now_.number, seconds(Clock::now()), std::max(1.5, limit_s_ / 4));
  if (missing.empty()) missing = "another rank hangs or is unreachable";
  return Error(ExitCode::communication, "F06", cat(what, " has not ended after ", std::lround(waited_s_), " s: ", missing),
               "look at the ranks that do not wait; start the same command again to go on from the last checkpoint");
}

void Watchdog::end(const Error& error, Clock::duration stay) const {
  if (board_ != nullptr ? !board_->first_to_report() : !first_of(job_)) std::this_thread::sleep_for(time_to_be_ended);
  if (board_ != nullptr) board_->leave();
  if (last_words_) say_last_words([words = last_words_, error] { words(error); });
  const std::string line =
      cat(line_start(STDERR_FILENO), "error: ", error.code(), ' ', error.what(), "; ", who_, "; do: ", error.remedy(), '\n');
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());  // the code says it too
  std::this_thread::sleep_for(stay);
  _exit(static_cast<int>(error.exit_code()));
}

}  // namespace lodestone
