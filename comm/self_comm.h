// A device plane of one rank.
#pragma once

#include <memory>

#include "comm/communicator.h"
#include "core/backend.h"

namespace lodestone {

/// As make_self_comm() on tensors of `backend`, which must outlive it: copies are enqueued.
std::unique_ptr<Communicator> make_self_comm(Backend& backend);

}  // namespace lodestone
