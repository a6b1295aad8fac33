// Which vector kernels this processor can run.
#include "core/cpu/isa.h"

#include "core/error.h"

namespace lodestone {

const vec::Table& best_vector_table() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4")) return vec_v4::table();
  if (__builtin_cpu_supports("x86-64-v3")) return vec_v3::table();
  if (__builtin_cpu_supports("x86-64-v2")) return vec_v2::table();
  throw Error(ExitCode::resource, "cpu", "this processor has no SSE4.2", "run on a processor made after 2010");
}

}  // namespace lodestone
