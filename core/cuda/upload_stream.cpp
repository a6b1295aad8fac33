#include "core/cuda/upload_stream.h"

namespace lodestone::cuda {

// The outermost scope is marked where it ends, since much may be enqueued before the next upload. One inside a step is marked when
// something is uploaded, which few are: behind more work than need be, and behind its own too.
void UploadStream::scope_ended(int depth) noexcept {
  const bool marked = depth == 1 && cudaEventRecord(released_.handle, compute_) == cudaSuccess;
  last_use_ = marked ? LastUse::at_marker : LastUse::unmarked;
}

void UploadStream::upload(const std::byte* host, std::byte* device, size_t size_bytes) {
  if (last_use_ == LastUse::unmarked) check(cudaEventRecord(released_.handle, compute_), "an upload");
  if (last_use_ != LastUse::met) check(cudaStreamWaitEvent(own_.handle, released_.handle, 0), "an upload");
  last_use_ = LastUse::met;
  staging_.upload(host, device, size_bytes);
  under_way_ = true;
}

void UploadStream::order_compute() {
  check(cudaEventRecord(arrived_.handle, own_.handle), "an upload");
  check(cudaStreamWaitEvent(compute_, arrived_.handle, 0), "an upload");
  under_way_ = false;
}

}  // namespace lodestone::cuda
