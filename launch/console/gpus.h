// Which of a host's GPUs a rank takes.
#pragma once

#include "comm/world.h"
#include "core/backend_kind.h"

namespace lodestone {

/// The number of a GPU that this process sees: the ranks of a host take them in turn, in their order there. 0 where a launcher shows each
/// rank its own one only, and for what computes elsewhere.
int gpu_of_rank(const World& world, BackendKind kind);

}  // namespace lodestone
