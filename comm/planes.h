// Planes: both planes of some ranks, over their host communicator, as a backend needs them.
#pragma once

#include "comm/group.h"
#include "comm/staged_comm.h"

namespace lodestone {

/// Where operands lie in the host's memory the communicator itself is both planes. Elsewhere tensors are staged through the host.
class Planes {
 public:
  /// `comm` and `backend` must outlive it. Collective where comm's split() is.
  Planes(Communicator& comm, Backend& backend);
  const Group& group() const { return group_; }

  /// How often either plane has waited for the backend, and the device plane has downloaded, inside the communicator: see waits() and
  /// downloads() there. 0 on the CPU.
  int64_t host_waits() const { return host_ == nullptr ? 0 : host_->waits(); }
  int64_t device_waits() const { return device_ == nullptr ? 0 : device_->waits(); }
  int64_t device_downloads() const { return device_ == nullptr ? 0 : device_->downloads(); }

 private:
  std::unique_ptr<DrainingComm> host_;  // null on the CPU, as the other
  std::unique_ptr<StagedComm> device_;
  Group group_;
};

}  // namespace lodestone
