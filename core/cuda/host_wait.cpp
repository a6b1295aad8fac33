#include "core/cuda/host_wait.h"

#include <cuda_runtime_api.h>

#include "core/cuda/cuda_call.h"

namespace lodestone::cuda {

namespace {

/// "Not ready" is an answer, but the runtime keeps it as its last error, which the next launch would take for its own.
cudaError_t answer(cudaError_t status) {
  if (status == cudaErrorNotReady) cudaGetLastError();
  return status;
}

template <class Ask>
cudaError_t waited(const HostWait::Loop& loop, const Ask& ask) {
  cudaError_t status = cudaErrorNotReady;
  loop([&] { return (status = answer(ask())) != cudaErrorNotReady; });
  return status;
}

}  // namespace

cudaError_t HostWait::for_event(cudaEvent_t event) const {
  return loop_ ? waited(loop_, [&] { return cudaEventQuery(event); }) : cudaEventSynchronize(event);
}

cudaError_t HostWait::for_stream(cudaStream_t stream) const {
  return loop_ ? waited(loop_, [&] { return cudaStreamQuery(stream); }) : cudaStreamSynchronize(stream);
}

bool is_under_way(cudaEvent_t event) { return answer(cudaEventQuery(event)) == cudaErrorNotReady; }

bool is_over(cudaEvent_t event) {
  const cudaError_t status = answer(cudaEventQuery(event));
  if (status == cudaErrorNotReady) return false;
  check(status, "a look at what was enqueued");
  return true;
}

}  // namespace lodestone::cuda
