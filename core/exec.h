// Exec: what an operation needs beside its operands - backend, step memory, random key. Passed, never found.
#pragma once

#include "core/arena.h"
#include "core/backend.h"

namespace lodestone {

/// A small value; copy it freely. `key` is derived with (seed, purpose), and layers derive further with their names: what they enqueue is
/// then the same in every step. What a step adds to the names of dropout masks it adds to those of the texts.
struct Exec {
  Backend& backend;
  Arena& arena;
  Key key{};
  DType compute = DType::f32;  // dtype of activations and product weights
  Key step{};                  // by which texts are named in this step (in_step() of core/step_texts.h); Key(): as they are

  /// dtype of statistics, embeddings, parameter gradients and masters: f64 for f64, f32 otherwise.
  DType wide() const { return compute == DType::f64 ? DType::f64 : DType::f32; }
  Exec with(Key derived) const { return {backend, arena, derived, compute, step}; }
  Exec at(Key derived) const { return {backend, arena, key, compute, derived}; }
};

}  // namespace lodestone
