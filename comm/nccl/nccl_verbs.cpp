#include "comm/nccl/nccl_verbs.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <iterator>

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

void NcclVerbs::begin(const char* verb, ConstTensor operand) {
  cuda::check(cudaEventRecord(before_.handle, backend_.enqueue(verb, operand)), verb);
  cuda::check(cudaStreamWaitEvent(stream(), before_.handle, 0), verb);
}

int64_t NcclVerbs::end(Watchdog::Operation verb) {
  cuda::check(cudaEventRecord(after_[static_cast<size_t>(verbs_) % after_.size()].handle, stream()), verb.operation);
  last_verb_ = verb;
  return verbs_++;
}

cudaEvent_t NcclVerbs::behind(int64_t verb) const {
  return after_[static_cast<size_t>(std::max(verb, verbs_ - std::ssize(after_))) % after_.size()].handle;
}

void NcclVerbs::order(int64_t verb) {
  if (verb < ordered_) return;
  cuda::check(cudaStreamWaitEvent(backend_.stream(), behind(verb), 0), "waiting for a verb");
  ordered_ = verb + 1;
}

bool NcclVerbs::is_over(int64_t verb) const { return cuda::is_over(behind(verb)); }

void NcclVerbs::drain() {
  if (verbs_ > 0) order(verbs_ - 1);
  backend_.synchronize();
}

void NcclVerbs::wait(const std::function<bool()>& done) {
  // What the GPU does without other ranks may take as long as it wants.
  std::optional<Watchdog::Phase> with_others;
  if (any_under_way()) with_others.emplace(watchdog_, last_verb_);
  Patience patience;
  while (!done()) {
    for (NcclComm* const comm : comms_) comm->require_healthy();
    if (with_others && !any_under_way()) with_others.reset();
    patience.pause();
  }
}

}  // namespace lodestone
