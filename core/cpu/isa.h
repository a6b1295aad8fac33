// The vector kernels of each instruction set.
#pragma once

#include "core/cpu/vector/table.h"
#include "core/instruction_set.h"

namespace lodestone {

/// The table of a level of x86-64; running what it names is up to the processor.
const vec::Table& vector_table(InstructionSet set);

/// The table of the highest level that this processor runs. Throws as best_instruction_set().
const vec::Table& best_vector_table();

}  // namespace lodestone
