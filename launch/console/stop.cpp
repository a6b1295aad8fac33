#include "launch/console/stop.h"

#include <unistd.h>

#include <cstring>
#include <utility>

#include "comm/last_words.h"
#include "launch/console/log.h"

namespace lodestone {

namespace {

constexpr int stop_signals[] = {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP, SIGXCPU};

bool is_ignored(int signal) {
  struct sigaction action {};
  return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

StopSignals::StopSignals() : second_code_(static_cast<int>(ExitCode::ended_unsaved)) {
  sigemptyset(&taken_);
  for (const int s : stop_signals)
    if (s != SIGHUP || !is_ignored(s)) sigaddset(&taken_, s);
  pthread_sigmask(SIG_BLOCK, &taken_, nullptr);
  for (const int s : {SIGPIPE, SIGXFSZ}) signal(s, SIG_IGN);
  thread_ = std::thread([this] { wait(); });
}

StopSignals::~StopSignals() {
  leaving_ = true;
  // Blocked there as everywhere, so that it only ends the waiting.
  pthread_kill(thread_.native_handle(), SIGTERM);  // NOLINT(bugprone-bad-signal-to-kill-thread)
  thread_.join();
}

void StopSignals::keep() { keeping_ = true; }

void StopSignals::set_farewell(std::function<void(const Error&)> farewell) {
  const std::lock_guard lock(mutex_);
  farewell_ = std::move(farewell);
}

void StopSignals::set_parting(std::function<void()> parting) {
  const std::lock_guard lock(mutex_);
  parting_ = std::move(parting);
}

int StopSignals::settled(int exit_code) {
  second_code_ = exit_code;
  set_farewell({});
  return exit_code;
}

void StopSignals::wait() {
  for (;;) {
    int signal = 0;
    const int failure = sigwait(&taken_, &signal);
    if (leaving_) return;
    if (failure != 0) continue;
    if (!keeping_) end(signal);
    if (first_ != 0) end_unsaved(signal);
    first_ = signal;
  }
}

void StopSignals::end(int signal) {
  ::signal(signal, SIG_DFL);
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, signal);
  pthread_kill(pthread_self(), signal);
  pthread_sigmask(SIG_UNBLOCK, &only, nullptr);  // here it strikes
  _exit(static_cast<int>(ExitCode::ended_unsaved));
}

void StopSignals::end_unsaved(int second) {
  const int code = second_code_;
  say_last_words([this, code, second] {
    const std::lock_guard lock(mutex_);
    if (parting_) parting_();
    if (code != static_cast<int>(ExitCode::ended_unsaved)) return;  // all is settled
    const Error error(ExitCode::ended_unsaved, "F49",
                      cat("SIG", sigabbrev_np(second), " after SIG", sigabbrev_np(first_), ": ended without saving"),
                      "start the same command again to go on from the last checkpoint");
    farewell_ ? farewell_(error) : print_line(error_line(error));
  });
  _exit(code);
}

}  // namespace lodestone
