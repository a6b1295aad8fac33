#include "comm/planes.h"

#include "comm/nccl_library.h"
#include "comm/self_comm.h"

namespace lodestone {

namespace {

bool on_host(Backend& backend) { return backend.device() == Device::cpu; }

std::optional<DrainingComm> draining(Communicator& comm, Backend& backend) {
  return on_host(backend) ? std::nullopt : std::optional<DrainingComm>(std::in_place, comm, backend);
}

}  // namespace

Planes::Planes(Communicator& comm, Backend& backend, Transport transport, Watchdog* watchdog)
    : host_(draining(comm, backend)),
      device_(open_device(comm, backend, transport, watchdog)),
      group_(device_ == nullptr ? Group(comm) : Group(*host_, *device_)) {}

std::unique_ptr<Communicator> Planes::open_device(Communicator& comm, Backend& backend, Transport transport, Watchdog* watchdog) {
  if (on_host(backend)) return nullptr;
  if (transport == Transport::automatic && comm.size() == 1) return make_self_comm(backend);
  std::string reason;
  if (transport != Transport::staged) {
    reason = backend.device() == Device::cuda ? nccl_library().why_not(comm, backend) : std::string("there is no GPU");
    if (reason.empty()) {
      transport_ = nccl_library().version();
      return nccl_library().make_comm(comm.split(0), backend, watchdog);
    }
    if (transport == Transport::nccl)
      throw Error(ExitCode::usage, "nccl", reason, "start one rank for each GPU, with the same NCCL, or set comm: staged");
  }
  transport_ = cat("staged through the host", reason.empty() ? "" : cat(" (", reason, ")"));
  auto staged = std::make_unique<StagedComm>(comm.split(0), backend);
  staged_ = staged.get();
  return staged;
}

}  // namespace lodestone
