// NcclLibrary: communicators of NCCL, which live in a shared library of its own, so that the program starts where NCCL is not installed.
#pragma once

#include <memory>
#include <string>

#include "comm/communicator.h"
#include "comm/watchdog.h"
#include "core/backend.h"

namespace lodestone {

/// liblodestone_nccl.so, opened once, where it lies as that of CUDA (core/cuda_library.h).
class NcclLibrary {
 public:
  NcclLibrary(const NcclLibrary&) = delete;
  NcclLibrary& operator=(const NcclLibrary&) = delete;

  /// Why these ranks cannot talk by NCCL, in a few words: the library is missing somewhere, ranks have different versions of it, or share a
  /// GPU, which NCCL refuses. The same on all ranks; empty: they can. `comm`: the ranks, on the host; `backend` that of CUDA, on every
  /// rank. Collective.
  std::string why_not(Communicator& comm, Backend& backend) const;
  /// "NCCL 2.28.9". Empty where there is none.
  const std::string& version() const { return version_; }
  /// A device plane (comm/group.h) of the ranks of `host`: all verbs, enqueued in a stream of their own between the operations before and
  /// behind them. While the host waits for the GPU it looks after the communicators: a failure of NCCL, or a watchdog's limit, ends the
  /// wait. After an error the communicator is broken off. `backend`, that of CUDA, and `watchdog` (or null) must outlive it and what is
  /// split from it; one at a time for a backend. Call only where why_not() is empty. Throws Error (communication, "nccl"). Collective.
  std::unique_ptr<Communicator> make_comm(std::unique_ptr<Communicator> host, Backend& backend, Watchdog* watchdog) const;

 private:
  friend const NcclLibrary& nccl_library();
  NcclLibrary();

  std::string missing_, version_;
  void (*why_not_)(Communicator& comm, Backend& backend, std::string& reason) = nullptr;
  Communicator* (*make_)(Communicator* host, Backend& backend, Watchdog* watchdog) = nullptr;
};

/// The only one, opened by the first call.
const NcclLibrary& nccl_library();

}  // namespace lodestone
