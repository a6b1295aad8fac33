#include "launch/console/stop.h"

#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>

#include "core/error.h"

namespace lodestone {

namespace {

constexpr int stop_signals[] = {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP, SIGXCPU};
constexpr auto farewell_time = std::chrono::milliseconds(1500);

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
  struct Said {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
  };
  const auto said = std::make_shared<Said>();  // the thread may outlive this function, not the process
  try {
    std::thread([this, second, said] {
      {
        const std::lock_guard lock(mutex_);
        if (farewell_) farewell_(second);
      }
      const std::lock_guard lock(said->mutex);
      said->done = true;
      said->changed.notify_one();
    }).detach();
    std::unique_lock lock(said->mutex);
    said->changed.wait_for(lock, farewell_time, [&] { return said->done; });
  } catch (const std::exception&) {  // no thread to be had: end without a word
  }
  _exit(second_code_);
}

}  // namespace lodestone
