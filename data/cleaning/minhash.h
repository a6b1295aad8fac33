// MinHash: how is it found out which sets may be alike, without comparing each with each?
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace lodestone {

/// Values of a signature.
inline constexpr int minhash_values = 128;
using Signature = std::array<uint32_t, minhash_values>;

/// Of 128 hash functions of a set's elements the least values. Two sets of Jaccard index s have the same value of one function with
/// probability s (Broder, 1997). Elements are hashes; function i of an element with the halves x and y is a_i x + b_i y mod 2^32.
/// Without elements all values are the largest number.
void sign(std::span<const uint64_t> elements, Signature& out);

/// A signature cut into bands of so many values (its last values may be left over). Sets are candidates when one band is equal.
struct Bands {
  int count = 0, values = 0;
};

/// That two sets of Jaccard index s are candidates: 1 - (1 - s^values)^count.
double catch_probability(Bands bands, double jaccard);

/// The bands with the most values each, and so the fewest candidates, that catch pairs at the threshold with a probability of 0.99 at
/// least: 21 of 6 for 0.8 (0.998), 32 of 4 for 0.7 (0.9998), 12 of 10 for 0.9 (0.994).
/// threshold: from 0.3 to 1.
Bands bands_for(double threshold);

/// 64 bits of one band of a signature; equal where the band's values are.
uint64_t band_hash(const Signature& signature, Bands bands, int band);

}  // namespace lodestone
