// Which vector kernels this processor can run.
#include "core/cpu/isa.h"

#include "core/error.h"

namespace lodestone {

InstructionSet best_instruction_set() {
  __builtin_cpu_init();
  // The features that set a level of x86-64 apart from the one below; compilers older than these names know no "x86-64-v3".
  const bool v2 = __builtin_cpu_supports("sse4.2") != 0 && __builtin_cpu_supports("popcnt") != 0;
  const bool v3 = v2 && __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 && __builtin_cpu_supports("bmi2") != 0;
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
                  __builtin_cpu_supports("avx512cd") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
                  __builtin_cpu_supports("avx512vl") != 0;
  if (v4) return InstructionSet::v4;
  if (v3) return InstructionSet::v3;
  if (v2) return InstructionSet::v2;
  throw Error(ExitCode::resource, "cpu", "this processor has no SSE4.2", "run on a processor made after 2010");
}

const vec::Table& vector_table(InstructionSet set) {
  switch (set) {
    case InstructionSet::v2:
      return vec_v2::table();
    case InstructionSet::v3:
      return vec_v3::table();
    case InstructionSet::v4:
      return vec_v4::table();
  }
  throw_internal(__FILE__, __LINE__, "set", "no such instruction set");
}

const vec::Table& best_vector_table() { return vector_table(best_instruction_set()); }

}  // namespace lodestone
