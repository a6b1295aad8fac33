// A number in [0, n) from random bits, without a division and without noticeable bias.
#pragma once

#include <cstdint>

namespace lodestone {

/// The upper half of bits * n: each number comes from 2^64 / n values of `bits`, give or take one.
constexpr uint64_t below(uint64_t bits, uint64_t n) { return static_cast<uint64_t>((static_cast<unsigned __int128>(bits) * n) >> 64); }

}  // namespace lodestone
