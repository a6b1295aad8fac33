// Which of the cores a rank should use, and which instructions of theirs: from where it and the other ranks run.
#pragma once

#include <string>

#include "comm/world.h"
#include "core/instruction_set.h"

namespace lodestone {

struct Cores {
  int bound = 1;        // cores in this rank's affinity mask
  int threads = 1;      // threads to use
  std::string warning;  // empty, or what is odd about them
};

/// requested 0 (auto): the cores of the mask, divided among the ranks of this host when they share them.
Cores choose_threads(const World& world, int64_t requested);

/// The highest instruction set that the processors of all ranks run: replicas are updated by every rank for itself, and would drift apart
/// where one rounds a product that another does not (FMA). Collective.
InstructionSet common_instruction_set(Communicator& comm, InstructionSet own);

}  // namespace lodestone
