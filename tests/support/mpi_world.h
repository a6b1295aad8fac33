// The world of an MPI test program: made by mpi_main.cpp, alive for all its tests.
#pragma once

#include "comm/world.h"

namespace lodestone::test {

World& world();
inline Communicator& world_comm() { return world().comm(); }

}  // namespace lodestone::test
