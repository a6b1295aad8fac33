// Counting communicators: they note what travels between ranks that are not there, and when a device has to wait for it.
#pragma once

#include "comm/group.h"
#include "comm/staged_comm.h"
#include "core/null/counting_backend.h"

namespace lodestone {

/// This process plays the first of `ranks` ranks alone, as comm/null_comm.h says, with a backend that counts. As with any device, the host
/// waits for it before host values travel. Verbs of the device plane are in a stream, as NCCL's, and note an exchange of the kind
/// `exchanges` with the bytes that a rank sends at least: in a ring 2 (W-1)/W of a sum, all but its own part of a gather or a scattered
/// sum. Waiting for one notes that the device waits for it. A world of one copies.
class CountingGroup {
 public:
  /// `backend` must outlive it.
  CountingGroup(CountingBackend& backend, int ranks, WorkKind exchanges);
  const Group& group() const { return group_; }

 private:
  const std::unique_ptr<Communicator> ranks_;
  DrainingComm host_;
  const std::unique_ptr<Communicator> device_;
  Group group_;
};

}  // namespace lodestone
