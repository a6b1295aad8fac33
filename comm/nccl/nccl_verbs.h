// NcclVerbs: what the communicators of one backend share.
#pragma once

#include <driver_types.h>

#include <deque>
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
  /// Lets the verbs that follow begin when all operations enqueued so far are done. Returns the event that end() will record.
  cudaEvent_t begin(const char* verb, ConstTensor operand);
  void end(cudaEvent_t event, Watchdog::Operation verb);
  /// Lets the operations that follow begin when the verb of this event is done.
  void order(cudaEvent_t event);
  /// Waits for all that was enqueued, verbs and operations.
  void drain();
  /// The verb is done, or ordered.
  void give_back(cudaEvent_t event) { idle_.push_back(event); }

 private:
  /// The host waits until `done`, and looks after the communicators.
  void wait(const std::function<bool()>& done);

  CudaBackend& backend_;
  Watchdog* watchdog_;
  const cuda::Stream stream_;
  cudaEvent_t last_ = nullptr;  // behind the last verb
  Watchdog::Operation last_verb_;
  std::deque<cuda::Marker> events_;  // of all verbs that were ever under way at once
  std::vector<cudaEvent_t> idle_;    // those that no verb has
  std::vector<NcclComm*> comms_;
  std::optional<Error> broken_;
};

}  // namespace lodestone
