// LossMemory: what a loss takes of step memory, counted from shapes.
#pragma once

#include <algorithm>

#include "core/arena.h"
#include "core/batch.h"

namespace lodestone {

/// In bytes, with the arena's alignment.
struct LossMemory {
  size_t vectors = 0;  // of texts and their gradients, beside the caller's own: these grow with the batch
  size_t others = 0;   // a tile of scores, sums, hashes
  size_t total() const { return vectors + others; }
  LossMemory& operator+=(const LossMemory& more) {
    vectors += more.vectors;
    others += more.others;
    return *this;
  }
  friend LossMemory operator+(LossMemory a, const LossMemory& b) { return a += b; }
};
/// Of two that are not held at the same time.
inline LossMemory larger(const LossMemory& a, const LossMemory& b) { return a.total() < b.total() ? b : a; }

/// The vectors [texts,E] that a loss is given, by their shape.
struct VectorBatch {
  Pairs pairs;  // its counts; no hash or score is read
  int64_t embedding = 0;
  DType dtype = DType::f32;

  int64_t texts() const { return pairs.queries * (1 + pairs.group); }
  /// Bytes of `rows` vectors.
  size_t vectors(int64_t rows) const { return Arena::taken_bytes(dtype, {rows, embedding}); }
  /// Bytes of `n` numbers of the vectors' type, or of eight bytes each.
  size_t numbers(int64_t n) const { return Arena::taken_bytes(dtype, {n}); }
  static size_t words(int64_t n) { return Arena::taken_bytes<double>(n); }
  /// Of a count for each rank.
  size_t rank_counts() const { return words(static_cast<int64_t>(pairs.rank_queries.size())); }
};

}  // namespace lodestone
