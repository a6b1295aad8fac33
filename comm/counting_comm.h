// Counting communicators: a null communicator for each plane that notes what travels between ranks, and when a device has to wait for it.
#pragma once

#include "comm/group.h"
#include "core/null/counting_backend.h"

namespace lodestone {

/// This process plays the first of `ranks` ranks alone, as comm/null_comm.h says. Verbs of the device plane note an exchange with the bytes
/// that a rank sends at least: in a ring 2 (W-1)/W of a sum, all but its own part of a gather or a scattered sum; waiting for one notes
/// that the device waits for it. Verbs of the host plane note that the host waits for the device, as ranks do whose host values may only
/// travel when their devices are done. Both also in a world of one.
class CountingGroup {
 public:
  /// `backend` must outlive it.
  CountingGroup(CountingBackend& backend, int ranks);
  const Group& group() const { return group_; }

 private:
  std::unique_ptr<Communicator> host_, device_;
  Group group_;
};

}  // namespace lodestone
