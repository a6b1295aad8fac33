#include "launch/console/cores.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>

#include "core/error.h"

namespace lodestone {

Cores choose_threads(const World& world, int64_t requested) {
  Cores c;
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) c.bound = std::max(1, CPU_COUNT(&mask));
  const bool shared = c.bound >= sysconf(_SC_NPROCESSORS_ONLN);  // not bound: every rank of the host sees all cores
  const int own = shared ? std::max(1, c.bound / world.local_size()) : c.bound;
  c.threads = requested > 0 ? static_cast<int>(requested) : own;
  if (c.threads > own)
    c.warning = cat("train.threads=", c.threads, " but this rank has ", own, own == 1 ? " core" : " cores",
                    "; mpirun binds a rank to one core by default, use --map-by slot:PE=", c.threads, " or threads: auto");
  else if (shared && world.local_size() > c.bound)
    c.warning = cat(world.local_size(), " ranks share ", c.bound, " cores of this host; expect them to wait for each other");
  return c;
}

InstructionSet common_instruction_set(Communicator& comm, InstructionSet own) {
  auto lowest = static_cast<int64_t>(own);
  all_reduce(comm, std::span(&lowest, 1), Reduce::min);
  return static_cast<InstructionSet>(lowest);
}

}  // namespace lodestone
