#include "launch/console/gpus.h"

#include <algorithm>

#include "core/cuda_library.h"

namespace lodestone {

int gpu_of_rank(const World& world, BackendKind kind) {
  return kind == BackendKind::cuda ? world.local_rank() % std::max(1, cuda_library().gpus()) : 0;
}

}  // namespace lodestone
