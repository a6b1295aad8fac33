#include "comm/nccl/nccl_verbs.h"

#include <cuda_runtime_api.h>

#include "comm/nccl/nccl_comm.h"
#include "comm/wait.h"
#include "core/cuda/cuda_call.h"

namespace lodestone {

NcclVerbs::NcclVerbs(CudaBackend& backend, Watchdog* watchdog) : backend_(backend), watchdog_(watchdog) {
  backend_.set_wait_loop([this](const std::function<bool()>& done) { wait(done); });
}

NcclVerbs::~NcclVerbs() { backend_.set_wait_loop({}); }

void NcclVerbs::break_off(const Error& reason) noexcept {
  if (!broken_) broken_ = reason;
  for (NcclComm* const comm : comms_) comm->break_off();
}

void NcclVerbs::require_unbroken() const {
  if (broken_) throw Error(*broken_);
}

cudaEvent_t NcclVerbs::begin(const char* verb, ConstTensor operand) {
  if (idle_.empty()) idle_.push_back(events_.emplace_back().handle);
  const cudaEvent_t event = idle_.back();
  idle_.pop_back();
  cuda::check(cudaEventRecord(event, backend_.enqueue(verb, operand)), verb);
  cuda::check(cudaStreamWaitEvent(stream(), event, 0), verb);
  return event;
}

void NcclVerbs::end(cudaEvent_t event, Watchdog::Operation verb) {
  cuda::check(cudaEventRecord(event, stream()), verb.operation);
  last_ = event;
  last_verb_ = verb;
}

void NcclVerbs::order(cudaEvent_t event) { cuda::check(cudaStreamWaitEvent(backend_.stream(), event, 0), "waiting for a verb"); }

void NcclVerbs::drain() {
  if (last_ != nullptr) order(last_);
  backend_.synchronize();
}

void NcclVerbs::wait(const std::function<bool()>& done) {
  // What the GPU does without other ranks may take as long as it wants.
  std::optional<Watchdog::Phase> with_others;
  if (last_ != nullptr && cuda::is_under_way(last_)) with_others.emplace(watchdog_, last_verb_);
  Patience patience;
  while (!done()) {
    for (NcclComm* const comm : comms_) comm->require_healthy();
    if (with_others && !cuda::is_under_way(last_)) with_others.reset();
    patience.pause();
  }
}

}  // namespace lodestone
