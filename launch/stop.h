// Signals set a flag; the flag is reduced with the loss, so that all ranks stop at the same step.
#pragma once

namespace lodestone {

/// Catches SIGTERM, SIGINT and SIGUSR1 while it lives. A second signal ends the process at once, without saving.
/// At most one object exists at a time (signal dispositions belong to the process).
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  /// The signal that arrived on this rank, 0 if none.
  int received() const;
};

}  // namespace lodestone
