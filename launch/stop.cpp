#include "launch/stop.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>

#include "core/error.h"

namespace lodestone {

namespace {

// The one piece of process-wide state in the program: a signal handler can reach nothing else.
std::atomic<int> received_signal{0};

void on_signal(int signal_number) {
  int none = 0;
  if (!received_signal.compare_exchange_strong(none, signal_number)) _exit(static_cast<int>(ExitCode::stopped_early));
}

constexpr int caught[] = {SIGTERM, SIGINT, SIGUSR1};

}  // namespace

StopSignals::StopSignals() {
  received_signal = 0;
  for (const int s : caught) {
    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(s, &action, nullptr);
  }
}

StopSignals::~StopSignals() {
  for (const int s : caught) signal(s, SIG_DFL);
}

int StopSignals::received() const { return received_signal; }

}  // namespace lodestone
