// NcclVerbs: what the communicators of one backend share.
#pragma once

#include <driver_types.h>

#include <array>
#include <functional>
#include <optional>
#include <vector>

#include "comm/watchdog.h"
#include "core/cuda/cuda_backend.h"
#include "core/cuda/stream.h"

namespace lodestone {

class NcclComm;

/// The stream of their verbs, and how the host waits beside them.
class NcclVerbs {
 public:
  NcclVerbs(CudaBackend& backend, Watchdog* watchdog);
  ~NcclVerbs();
  NcclVerbs(const NcclVerbs&) = delete;
  NcclVerbs& operator=(const NcclVerbs&) = delete;

  CudaBackend& backend() { return backend_; }
  Watchdog* watchdog() { return watchdog_; }
  cudaStream_t stream() const { return stream_.handle; }
  void join(NcclComm& comm) { comms_.push_back(&comm); }
  void leave(const NcclComm& comm) { std::erase(comms_, &comm); }
  /// All of them, for this reason: whoever asks one of them from here on hears it.
  void break_off(const Error& reason) noexcept;
  /// Throws it, if there is one.
  void require_unbroken() const;
  /// Lets the verbs that follow begin when all operations enqueued so far are done.
  void begin(const char* verb, ConstTensor operand);
  /// The verb is enqueued. Returns its number.
  int64_t end(Watchdog::Operation verb);
  /// Lets the operations that follow begin when this verb and all before it are done. Nothing to do where they do already.
  void order(int64_t verb);
  /// Whether it is done. May be false for long where more than 64 came behind it.
  bool is_over(int64_t verb) const;
  /// Waits for all that was enqueued, verbs and operations.
  void drain();

 private:
  /// Behind verb number `verb`; where its own event lies behind a later verb by now, behind some verb from it on.
  cudaEvent_t behind(int64_t verb) const;
  /// Whether a verb is not done.
  bool any_under_way() const { return verbs_ > 0 && cuda::is_under_way(behind(verbs_ - 1)); }
  /// The host waits until `done`, and looks after the communicators.
  void wait(const std::function<bool()>& done);

  CudaBackend& backend_;
  Watchdog* watchdog_;
  const cuda::Stream stream_{cuda::Precedence::first};  // other ranks wait for a verb, and it takes a few blocks
  cuda::Marker before_;                                 // in the operations' stream, in front of the last verb
  std::array<cuda::Marker, 64> after_;                  // behind the last verbs, by their numbers
  int64_t verbs_ = 0;                                   // that were enqueued
  int64_t ordered_ = 0;                                 // the first ones, behind which the operations' stream stands
  Watchdog::Operation last_verb_;
  std::vector<NcclComm*> comms_;
  std::optional<Error> broken_;
};

}  // namespace lodestone
