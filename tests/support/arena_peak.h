// How much step memory calls take at once.
#pragma once

#include "core/exec.h"

namespace lodestone::test {

/// The most that body(ex) has in use of ex.arena at a time, beyond what is in use when it is called.
template <class Body>
size_t peak_of(Exec ex, const Body& body) {
  ex.arena.reset_peak();
  const size_t before = ex.arena.used_bytes();
  body(ex);
  return ex.arena.peak_bytes() - before;
}

}  // namespace lodestone::test
