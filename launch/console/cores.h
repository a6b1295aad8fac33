// How many threads a rank should use: from the cores that it may run on.
#pragma once

#include <string>

#include "comm/world.h"

namespace lodestone {

struct Cores {
  int bound = 1;        // cores in this rank's affinity mask
  int threads = 1;      // threads to use
  std::string warning;  // empty, or what is odd about them
};

/// requested 0 (auto): the cores of the mask, divided among the ranks of this host when they share them.
Cores choose_threads(const World& world, int64_t requested);

}  // namespace lodestone
