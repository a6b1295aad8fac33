// Planes: both planes of some ranks, over their host communicator, as a backend needs them.
#pragma once

#include <optional>
#include <string>

#include "comm/group.h"
#include "comm/staged_comm.h"
#include "comm/transport.h"
#include "comm/watchdog.h"

namespace lodestone {

/// Where operands lie in the host's memory the communicator itself is both planes. Elsewhere tensors travel as `transport` says.
class Planes {
 public:
  /// `comm` and `backend` must outlive it, and `watchdog`, which watches waits for NCCL. Throws Error (usage, "nccl") where NCCL is asked
  /// for and these ranks cannot use it, (communication) where it fails. Collective, unless operands lie in the host's memory.
  Planes(Communicator& comm, Backend& backend, Transport transport = Transport::staged, Watchdog* watchdog = nullptr);
  const Group& group() const { return group_; }
  /// How a device's tensors travel, and where the choice was automatic, why: "NCCL 2.28.9", "staged through the host (ranks 0 and 1 share
  /// GPU 0000:01:00.0 of node1)". Empty on the CPU,
  /// and for a rank that is alone, unless it asks for either.
  const std::string& transport() const { return transport_; }

  /// How often either plane has waited for the backend, and the device plane has downloaded, inside the communicator: see waits() and
  /// downloads() there. 0 on the CPU, and for the device plane by NCCL.
  int64_t host_waits() const { return host_ ? host_->waits() : 0; }
  int64_t device_waits() const { return staged_ == nullptr ? 0 : staged_->waits(); }
  int64_t device_downloads() const { return staged_ == nullptr ? 0 : staged_->downloads(); }

 private:
  /// The device plane, or null where there is none.
  std::unique_ptr<Communicator> open_device(Communicator& comm, Backend& backend, Transport transport, Watchdog* watchdog);

  std::optional<DrainingComm> host_;  // none on the CPU
  std::string transport_;
  const StagedComm* staged_ = nullptr;  // device_, where it is one
  std::unique_ptr<Communicator> device_;
  Group group_;
};

}  // namespace lodestone
