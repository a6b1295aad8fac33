// Dropout factors of 128 elements at a time, bit for bit those of dropout_bits() in core/rng.h.
#pragma once

#include <utility>

#include "core/cpu/vector/simd.h"

namespace lodestone::LODE_VEC {

inline constexpr int64_t mask_group = 128;  // elements drawn together: 16 counters of 4 words of 2 halves

/// Low and high halves of the 32 x 32 bit products of each lane with a constant.
struct Wide {
  vu low, high;
};
/// Even lanes of the first vector, odd ones of the second.
template <int... J>
LODE_INLINE vu interleave(vu even, vu odd, std::integer_sequence<int, J...>) {
  return __builtin_shufflevector(even, odd, (J % 2 == 0 ? J : static_cast<int>(lanes) + J)...);
}
LODE_INLINE Wide multiply(vu a, uint32_t constant) {
  constexpr std::make_integer_sequence<int, lanes> all;
  const vq c = uint64_t{constant} - vq{};
  const vq even = multiply_even((vq)a, c), odd = multiply_even((vq)a >> 32, c);
  return {interleave((vu)even, (vu)(odd << 32), all), interleave((vu)(even >> 32), (vu)odd, all)};
}

/// The counters c + {0, 0, 0, first .. first + 16} under a key after ten rounds of Philox4x32, `lanes` in a vector.
struct Counters {
  static constexpr int64_t parts = 16 / lanes;
  vu c0[parts], c1[parts], c2[parts], c3[parts];

  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): every element is set below
  LODE_MEMBER Counters(uint64_t key, uint64_t text, uint32_t index, uint32_t first) {
    // The first round is the same for all counters but for the last word.
    uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
    const uint64_t p0 = uint64_t{0xD2511F53u} * static_cast<uint32_t>(text), p1 = uint64_t{0xCD9E8D57u} * index;
    vu lane;
    for (int64_t j = 0; j < lanes; ++j) lane[j] = static_cast<uint32_t>(j);
#pragma GCC unroll 4
    for (int64_t i = 0; i < parts; ++i) {
      c0[i] = (static_cast<uint32_t>(p1 >> 32) ^ static_cast<uint32_t>(text >> 32) ^ k0) - vu{};
      c1[i] = static_cast<uint32_t>(p1) - vu{};
      c2[i] = (lane + (first + static_cast<uint32_t>(i * lanes))) ^ (static_cast<uint32_t>(p0 >> 32) ^ k1);
      c3[i] = static_cast<uint32_t>(p0) - vu{};
    }
    for (int round = 1; round < 10; ++round) {
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
#pragma GCC unroll 4
      for (int64_t i = 0; i < parts; ++i) {
        const Wide p = multiply(c0[i], 0xD2511F53u), q = multiply(c2[i], 0xCD9E8D57u);
        c0[i] = q.high ^ c1[i] ^ k0;
        c1[i] = q.low;
        c2[i] = p.high ^ c3[i] ^ k1;
        c3[i] = p.low;
      }
    }
  }
};

/// factors[j] for the elements [group * 128, group * 128 + 128): 0 where dropped, `keep` elsewhere. Only the first
/// `count` are wanted; the rest may or may not be written.
LODE_INLINE void draw_factors(uint64_t key, uint64_t text, uint32_t index, uint32_t group, uint32_t threshold, float keep, int64_t count,
                              float* factors) {
  const Counters drawn(key, text, index, group * 16);
  const vf kept = splat(keep);
  const vi limit = static_cast<int32_t>(threshold) - vi{};
#pragma GCC unroll 4
  for (int64_t i = 0; i < Counters::parts; ++i) {
    const vu words[4] = {drawn.c0[i], drawn.c1[i], drawn.c2[i], drawn.c3[i]};
#pragma GCC unroll 4
    for (int64_t w = 0; w < 4; ++w) {
      store(factors + 16 * w + i * lanes, (vi)(words[w] & 0xffffu) < limit ? vf{} : kept);
      if (count > 64) store(factors + 64 + 16 * w + i * lanes, (vi)(words[w] >> 16) < limit ? vf{} : kept);
    }
  }
}

/// Walks over consecutive rows of ragged texts: the text and the position of a row.
class RowNames {
 public:
  RowNames(const vec::RowMask& mask, int64_t row) : mask_(mask), row_(row) {
    if (mask.threshold == 0) return;
    int64_t last = mask.count;  // the last text that begins at or before the row
    while (last - text_ > 1) {
      const int64_t middle = (text_ + last) / 2;
      (mask.offsets[middle] <= row ? text_ : last) = middle;
    }
  }
  uint64_t text() const { return mask_.texts[text_]; }
  uint32_t position() const { return static_cast<uint32_t>(row_ - mask_.offsets[text_]); }
  void next() {
    ++row_;
    if (mask_.threshold == 0) return;
    while (text_ + 1 < mask_.count && mask_.offsets[text_ + 1] <= row_) ++text_;
  }

 private:
  const vec::RowMask& mask_;
  int64_t row_, text_ = 0;
};

/// body(i, access, factors of these elements) over a row; the factors are 1 when nothing is dropped.
template <class Body>
LODE_INLINE void sweep_masked(const vec::RowMask& mask, const RowNames& row, int64_t columns, Body body) {
  if (mask.threshold == 0) {
    sweep(0, columns, [&](int64_t i, auto access) { body(i, access, splat(1.0f)); });
    return;
  }
  alignas(64) float factors[mask_group];
  for (int64_t first = 0; first < columns; first += mask_group) {
    const int64_t rest = columns - first, count = rest < mask_group ? rest : mask_group;
    draw_factors(mask.key, row.text(), row.position(), static_cast<uint32_t>(first / mask_group), mask.threshold, mask.keep, count,
                 factors);
    sweep(first, first + count, [&](int64_t i, auto access) { body(i, access, load(factors + (i - first))); });
  }
}

}  // namespace lodestone::LODE_VEC
