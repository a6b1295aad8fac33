// MpiComm: the communicator of host tensors over MPI.
#pragma once

#include "comm/communicator.h"
#include "comm/watchdog.h"

namespace lodestone {

/// Over all ranks that MPI started; duplicates MPI_COMM_WORLD. MPI must be running; call from the thread that started it.
/// Waits spin shortly, then yield the core, then sleep in small steps; each wait is watched by `watchdog` (may be null).
/// Every failure of MPI throws Error (communication). Reductions of bf16 are refused: reduce in f32.
/// all_reduce and broadcast take any count; all_gather and reduce_scatter refuse more than 2^31 - 1 elements in all.
std::unique_ptr<Communicator> make_world_comm(Watchdog* watchdog);

}  // namespace lodestone
