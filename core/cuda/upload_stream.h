// UploadStream: uploads into step memory travel in a stream of their own, beside what the GPU computes and in order with it.
#pragma once

#include <cstddef>

#include "core/cuda/staging.h"
#include "core/cuda/stream.h"

namespace lodestone::cuda {

/// Two orders hold. What is computed behind an upload finds it (join()). An upload finds memory that nobody uses any more: step memory is
/// taken anew after a scope has ended, and whoever used it was enqueued before (scope_ended()). So the texts of a step travel while the
/// update of the step before is computed, which stands behind the last scope that the step before has ended.
class UploadStream {
 public:
  /// Beside `compute`, which must outlive it, as `wait` must.
  UploadStream(cudaStream_t compute, const HostWait& wait) : compute_(compute), staging_(own_.handle, wait) {}

  /// A scope of step memory ends, number `depth` of those that are open.
  void scope_ended(int depth) noexcept;
  /// Step memory was used that may be taken anew without the end of a scope.
  void used() { last_use_ = LastUse::unmarked; }
  /// device [size_bytes], of step memory just taken, = host, which may change at once.
  void upload(const std::byte* host, std::byte* device, size_t size_bytes);
  /// What is enqueued in the compute stream from here on stands behind all uploads.
  void join() {
    if (under_way_) order_compute();
  }

 private:
  /// Where in the compute stream the last use of memory that was given back lies.
  enum class LastUse : uint8_t {
    at_marker,  // there or before, and uploads are not yet behind it
    unmarked,   // anywhere
    met,        // uploads are behind it
  };

  void order_compute();

  cudaStream_t compute_;
  Stream own_;
  Marker released_, arrived_;  // in the compute stream; in this one
  Staging staging_;
  LastUse last_use_ = LastUse::met;
  bool under_way_ = false;  // uploads that the compute stream is not yet behind
};

}  // namespace lodestone::cuda
