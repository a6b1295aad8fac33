// CheckedComm: compares what all ranks are about to do before any data moves.
#pragma once

#include "comm/communicator.h"

namespace lodestone {

/// For debugging: MPI itself ends most mismatched collectives with exit code 0 and wrong numbers. Before each verb the ranks
/// exchange the verb, its number, count, dtype, operation or root, and a hash of the per-rank counts; if any differ, every
/// rank throws Error (internal, F08) that names two ranks that differ and what each called. Waits at the start of each verb,
/// so overlap is lost. Splits are checked too. A rank that calls nothing is the watchdog's case.
std::unique_ptr<Communicator> make_checked_comm(std::unique_ptr<Communicator> inner);
/// The same for a device plane: what is called is compared over `control`, a host plane of the same ranks.
std::unique_ptr<Communicator> make_checked_comm(std::unique_ptr<Communicator> inner, std::unique_ptr<Communicator> control);

}  // namespace lodestone
