// The instructions of core/cuda/device/ptx.h on the host. Included by emulator.h before kernels are.
#pragma once

#include <bit>
#include <cmath>
#include <cstring>

#include "core/cuda/device/ptx.h"
#include "tests/cuda/emulator/fibers.h"

namespace lodestone::cuda {

/// Lanes bring what they hold, and each makes its four sums from what all hold: in f32, one product after the other. (Tensor cores add in
/// an order, and with roundings, that nobody has written down.)
inline void multiply_add(SumTile& sum, const LeftTile& left, const RightTile& right) {
  const int r = emulator::lane() / 4, q = emulator::lane() % 4;
  LeftTile rows[4];  // row r and r + 8, by q
  static_assert(sizeof rows[0] == emulator::lane_bytes);
  std::memcpy(rows, emulator::meet_in_warp(~0u, &left, sizeof left, "mma") + static_cast<size_t>(4 * r) * emulator::lane_bytes,
              sizeof rows);
  const std::byte* const rights = emulator::meet_in_warp(~0u, &right, sizeof right, "mma");
  const auto half_of = [](uint32_t pair, int half) { return std::bit_cast<float>(half == 0 ? pair << 16 : pair & 0xffff0000u); };
  for (int i = 0; i < 4; ++i) {
    const int below = i / 2, column = 2 * q + i % 2;  // row r + 8 below
    RightTile columns[4];                             // column `column`, by q
    for (size_t k = 0; k < 4; ++k)
      std::memcpy(&columns[k], rights + (static_cast<size_t>(column) * 4 + k) * emulator::lane_bytes, sizeof columns[k]);
    for (int k = 0; k < 16; ++k) {
      const int holder = k % 8 / 2, behind = k / 8;
      sum.at[i] += half_of(rows[holder].at[below + 2 * behind], k % 2) * half_of(columns[holder].at[behind], k % 2);
    }
  }
}

inline float exp2_approx(float x) {
  const float y = std::exp2(x);
  return y < 0x1p-126f ? 0.0f : y;
}

}  // namespace lodestone::cuda
