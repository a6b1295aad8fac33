#include "launch/console/stop.h"

#include <unistd.h>

#include <utility>

#include "comm/last_words.h"
#include "core/error.h"

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

void StopSignals::set_farewell(std::function<void(int second)> farewell) {
  const std::lock_guard lock(mutex_);
  farewell_ = std::move(farewell);
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
  say_last_words([this, second] {
    const std::lock_guard lock(mutex_);
    if (farewell_) farewell_(second);
  });
  _exit(second_code_);
}

}  // namespace lodestone
