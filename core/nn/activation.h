// Activation: the rows of a batch between two layers, padded to the row bucket of products. Dropout keys of a layer.
#pragma once

#include "core/exec.h"
#include "core/round_up.h"

namespace lodestone {

/// Smallest multiple of the backend's row bucket that holds `rows` rows.
inline int64_t padded_rows(const Exec& ex, int64_t rows) { return round_up(rows, ex.backend.row_bucket()); }

/// A matrix of `rows` real rows and a few more up to a multiple of the row bucket. Products and linear_gradients() read and write
/// all of them, so that few shapes exist; every other operation sees the real rows only. Padding rows of a gradient are zero and those of
/// an activation that a weight gradient reads are finite, so padding adds nothing to any gradient.
struct Activation {
  Tensor padded;  // [padded_rows, K]
  int64_t rows = 0;
  Tensor real() const { return padded.rows(0, rows); }
};

/// What the padding rows start as.
enum class Padding : uint8_t { zero, any };

inline void clear_padding(const Exec& ex, const Activation& x) {
  if (x.padded.dim(0) > x.rows) ex.backend.fill_zero(x.padded.rows(x.rows, x.padded.dim(0)));
}

/// [rows, columns] from the arena, in the given dtype. Real rows are uninitialised.
inline Activation take_rows(const Exec& ex, DType dtype, int64_t rows, int64_t columns, Padding padding) {
  const Activation x{ex.arena.tensor(dtype, {padded_rows(ex, rows), columns}), rows};
  if (padding == Padding::zero) clear_padding(ex, x);
  return x;
}

/// Whether what forward computes is kept for backward, or its memory is reused inside the layer.
enum class Keep : uint8_t { all, nothing };

/// Where in a layer a dropout mask sits: part of its name.
enum class Place : uint8_t { embedding = 0, attention = 1, attention_output = 2, feed_forward_output = 3, score = 4 };

/// The mask of a place. No dropout when the texts have no keys.
inline Dropout dropout_at(const Exec& ex, const DeviceTexts& texts, double p, int64_t layer, Place place) {
  if (texts.keys.empty() || p <= 0) return {};
  return {p, ex.key.with("dropout").with(static_cast<uint64_t>(layer)).with(static_cast<uint64_t>(place))};
}

}  // namespace lodestone
