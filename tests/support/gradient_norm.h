// The norm that a step clips by, of a gradient that a GradSync has summed.
#pragma once

#include <cmath>

#include "comm/gather_values.h"
#include "comm/grad_sync.h"
#include "tests/support/squares.h"

namespace lodestone::test {

/// Equal on all ranks: squares of the shares that ranks update are added in the order of ranks. Collective.
inline double gradient_norm(const GradSync& sync, Communicator& comm, Backend& backend, Tensor grads) {
  const double own = squares_of(backend, grads.slice(sync.own()));
  if (!sync.sharded()) return std::sqrt(own);
  double squares = 0;
  for (const double share : gather_value(comm, own)) squares += share;
  return std::sqrt(squares);
}

}  // namespace lodestone::test
