// Exec: what an operation needs beside its operands - backend, step memory, random key. Passed, never found.
#pragma once

#include "core/arena.h"
#include "core/backend.h"

namespace lodestone {

/// A small value; copy it freely. `key` is derived with (seed, purpose, step); layers derive further with their names.
struct Exec {
  Backend& backend;
  Arena& arena;
  Key key{};
  DType compute = DType::f32;  // dtype of activations and product weights

  /// dtype of statistics, embeddings, parameter gradients and masters: f64 for f64, f32 otherwise.
  DType wide() const { return compute == DType::f64 ? DType::f64 : DType::f32; }
  Exec with(Key derived) const { return {backend, arena, derived, compute}; }
};

}  // namespace lodestone
