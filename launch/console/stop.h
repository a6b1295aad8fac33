// Stop signals: blocked in every thread and taken by one of their own, so that none is ever handled on a stack that a library lent itself.
#pragma once

#include <signal.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

#include "core/error.h"

namespace lodestone {

/// SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP (unless it is ignored, as under nohup) and SIGXCPU. Made first thing in main(), before any
/// other thread: threads inherit which signals are blocked. No handler is installed: libraries may run with their stack pointer inside a
/// workspace, where the system would write the handler's frame. SIGPIPE and SIGXFSZ are ignored: the write that meets them fails.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// Until this call a signal ends the process as it would end any program. From now on the first one is only noted, and a second one ends
  /// the process within two seconds with ExitCode::ended_unsaved.
  void keep();
  /// The first signal since keep() on this rank, 0 if none.
  int received() const { return first_; }

  /// What is done before a second signal ends the process: called on another thread, with what is to be said of it, for a second and a half
  /// at most. Empty: it is printed.
  void set_farewell(std::function<void(const Error&)> farewell);
  /// What is done in any case before a second signal ends the process: to be quick and without error. Not called after it is set to
  /// nothing.
  void set_parting(std::function<void()> parting);
  /// Nothing is left to save: a further signal ends the process at once with this exit code. No farewell is called after the return.
  int settled(int exit_code);

 private:
  void wait();
  [[noreturn]] void end(int signal);
  [[noreturn]] void end_unsaved(int second);

  sigset_t taken_{};
  std::atomic<bool> keeping_ = false, leaving_ = false;
  std::atomic<int> first_ = 0, second_code_;
  std::mutex mutex_;  // guards both
  std::function<void(const Error&)> farewell_;
  std::function<void()> parting_;
  std::thread thread_;  // last: it uses everything above
};

}  // namespace lodestone
