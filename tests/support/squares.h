// The sum of squares of a tensor as a number.
#pragma once

#include "core/buffer.h"
#include "core/exec.h"

namespace lodestone::test {

inline double squares_of(Backend& backend, ConstTensor x) {
  const Buffer memory(backend.memory(), sizeof(double));
  const Tensor total = memory.tensor(DType::f64, {1});
  backend.sum_squares(x, total);
  double squares = 0;
  backend.download(total, view(std::span(&squares, 1)));
  backend.synchronize();
  return squares;
}

}  // namespace lodestone::test
