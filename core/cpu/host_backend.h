// HostBackend: place and time of backends that compute in the host's memory and are done when a call returns.
#pragma once

#include "core/backend.h"

namespace lodestone {

class HostBackend : public Backend {
 public:
  Memory& memory() override { return memory_; }
  Device device() const override { return Device::cpu; }
  ConstTensor upload(ConstTensor host, Arena& arena) override;
  void upload(ConstTensor host, Tensor to) override;
  ConstTensor download(ConstTensor x, Arena& arena) override;
  void download(ConstTensor x, Tensor host) override;
  void synchronize() override { ++transfers_.waits; }
  Event record() override { return {}; }
  void wait_for(Event) override { ++transfers_.waits; }
  const Transfers& transfers() const override { return transfers_; }

 private:
  HostMemory memory_;
  Transfers transfers_;
};

}  // namespace lodestone
