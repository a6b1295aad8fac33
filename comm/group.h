// Group: the ranks that share something, as two planes.
#pragma once

#include "comm/communicator.h"

namespace lodestone {

/// The same ranks twice. Small control values that the host holds travel over `host`, whose verbs are done when waited for. Tensors of a
/// backend travel over `device`: its verbs stand behind what was enqueued before them, and waiting for one orders what is enqueued later.
/// On the CPU both are one communicator.
struct Group {
  Communicator& host;
  Communicator& device;

  Group(Communicator& both) : host(both), device(both) {}  // NOLINT: on the CPU any communicator is a group
  Group(Communicator& host_plane, Communicator& device_plane) : host(host_plane), device(device_plane) {}
  int rank() const { return host.rank(); }
  int size() const { return host.size(); }
};

/// Ranks of a group that chose the same colour, ordered as there, with communicators of their own on both planes.
class SplitGroup {
 public:
  /// Collective over `whole`, which must outlive this.
  SplitGroup(const Group& whole, int colour)
      : host_(whole.host.split(colour)),
        device_(&whole.host == &whole.device ? nullptr : whole.device.split(colour)),
        group_(*host_, device_ == nullptr ? *host_ : *device_) {}
  const Group& group() const { return group_; }

 private:
  std::unique_ptr<Communicator> host_, device_;  // null: both planes are one
  Group group_;
};

}  // namespace lodestone
