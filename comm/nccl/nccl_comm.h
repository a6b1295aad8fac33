// NcclComm: the verbs on tensors of a GPU, by NCCL.
#pragma once

#include <nccl.h>

#include <memory>

#include "comm/communicator.h"
#include "comm/nccl/nccl_verbs.h"

namespace lodestone {

/// A device plane. NCCL is told not to block: where it is not ready at once, this waits beside it and under the watchdog. Where one fails,
/// all communicators of the backend are broken off before the Error is thrown, or the GPU would wait for other ranks for ever.
class NcclComm final : public Communicator {
 public:
  /// Of all ranks of `host`. Throws Error (communication, "nccl"). Collective.
  NcclComm(std::unique_ptr<Communicator> host, std::shared_ptr<NcclVerbs> verbs);
  ~NcclComm() override;
  NcclComm(const NcclComm&) = delete;
  NcclComm& operator=(const NcclComm&) = delete;

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  bool in_stream() const override { return true; }
  std::unique_ptr<Communicator> split(int colour) override;
  Pending all_reduce(ConstTensor in, Tensor out, Reduce op) override;
  /// NCCL gathers equal parts; of others every rank broadcasts its own, in one group.
  Pending all_gather(ConstTensor in, Tensor out, std::span<const int64_t> counts) override;
  /// NCCL scatters equal parts; others are reduced to their ranks, in one group.
  Pending reduce_scatter(ConstTensor in, Tensor out, std::span<const int64_t> counts) override;
  Pending broadcast(Tensor data, int root) override;
  /// What was enqueued before is done on every rank.
  void barrier() override;

  /// Throws Error (communication, "nccl") where NCCL has failed.
  void require_healthy();
  /// Ends what is under way, at once, and all use.
  void break_off() noexcept;

 protected:
  void wait(std::span<std::byte, 16> request) override;
  bool test(std::span<std::byte, 16> request) override;

 private:
  /// A part of a communicator, which NCCL has begun to split off.
  NcclComm(std::unique_ptr<Communicator> host, std::shared_ptr<NcclVerbs> verbs, ncclComm_t comm);
  void become_ready(ncclResult_t result, const char* what);
  /// Waits as long as the communicator is in progress with what a call has begun.
  void settle(ncclResult_t result, Watchdog::Operation what);
  /// Breaks all off and throws.
  [[noreturn]] void fail(ncclResult_t result, const std::string& what);
  /// `call` enqueues the verb's work in the stream that it is given. operand: the whole vector.
  template <class Call>
  Pending enqueue(const char* verb, ConstTensor operand, const Call& call);

  const std::unique_ptr<Communicator> host_;
  const std::shared_ptr<NcclVerbs> verbs_;
  ncclComm_t comm_ = nullptr;  // null: broken off
  Watchdog::Operation last_;   // verb; its number is -1 before the first
};

}  // namespace lodestone
