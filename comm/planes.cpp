#include "comm/planes.h"

namespace lodestone {

namespace {

bool on_host(Backend& backend) { return backend.device() == Device::cpu; }

}  // namespace

Planes::Planes(Communicator& comm, Backend& backend)
    : host_(on_host(backend) ? nullptr : std::make_unique<DrainingComm>(comm, backend)),
      device_(on_host(backend) ? nullptr : std::make_unique<StagedComm>(comm.split(0), backend)),
      group_(on_host(backend) ? Group(comm) : Group(*host_, *device_)) {}

}  // namespace lodestone
