// HostWait: how the host waits for the GPU.
#pragma once

#include <driver_types.h>

#include <functional>

namespace lodestone::cuda {

/// In the runtime; or, where somebody else must be looked at meanwhile (a communicator, whose peers may be lost), by asking again and
/// again.
class HostWait {
 public:
  /// Calls `done` until it returns true, with whatever else it does between.
  using Loop = std::function<void(const std::function<bool()>& done)>;

  /// From here on; an empty one: in the runtime.
  void set_loop(Loop loop) { loop_ = std::move(loop); }
  /// Returns when what was recorded, or all that was enqueued, is done, with what the runtime says of it.
  cudaError_t for_event(cudaEvent_t event) const;
  cudaError_t for_stream(cudaStream_t stream) const;

 private:
  Loop loop_;
};

/// Whether what was recorded is done. Throws as cuda::check() where it failed.
bool is_over(cudaEvent_t event);
/// Whether it is neither done nor failed.
bool is_under_way(cudaEvent_t event);

}  // namespace lodestone::cuda
