#include "comm/watchdog.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "comm/terminal.h"
#include "core/error.h"

namespace lodestone {

namespace {
constexpr auto time_to_be_ended = std::chrono::seconds(5);

double seconds(std::chrono::steady_clock::time_point t) { return std::chrono::duration<double>(t.time_since_epoch()).count(); }
}  // namespace

Watchdog::Watchdog(double limit_s, std::string who) : limit_s_(limit_s), who_(std::move(who)) {
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

Watchdog::Phase::Phase(Watchdog* dog, Operation operation) : dog_(dog), outer_(dog ? dog->replace(operation) : Operation{}) {}

Watchdog::Phase::~Phase() {
  if (dog_ != nullptr) dog_->replace(outer_);
}

Watchdog::Operation Watchdog::replace(Operation operation) {
  const std::lock_guard lock(mutex_);
  since_ = Clock::now();
  if (board_ != nullptr) board_->show(operation.operation, operation.number);
  return std::exchange(now_, operation);
}

// Looks several times per limit instead of being woken by every phase: entering a phase stays cheap.
void Watchdog::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const Clock::time_point now = Clock::now();
    if (board_ != nullptr) board_->beat(seconds(now));
    const double waited_s = seconds(now) - seconds(since_);
    if (now_.operation != nullptr && waited_s > limit_s_) expire(now_, waited_s);
    changed_.wait_for(lock, std::chrono::duration<double>(std::clamp(limit_s_ / 20, 0.005, 0.5)));
  }
}

void Watchdog::expire(const Operation& operation, double waited_s) const {
  std::string line = cat(line_start(STDERR_FILENO), "error: F06 ", operation.operation);
  if (operation.bytes >= 0) line += cat(" of ", operation.bytes, " bytes");
  if (operation.number >= 0) line += cat(" (collective ", operation.number, ")");
  std::string missing;
  if (board_ != nullptr)
    missing = board_->others(operation.operation, operation.number, seconds(Clock::now()), std::max(1.5, limit_s_ / 4));
  if (missing.empty()) missing = "another rank hangs or is unreachable";
  if (board_ != nullptr && !board_->first_to_report()) std::this_thread::sleep_for(time_to_be_ended);
  line += cat(" has not ended after ", std::lround(waited_s), " s: ", missing, "; ", who_,
              "; do: look at the ranks that do not wait; start the same command again to go on from the last checkpoint\n");
  const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
  _exit(written < 0 ? static_cast<int>(ExitCode::internal) : static_cast<int>(ExitCode::communication));
}

}  // namespace lodestone
