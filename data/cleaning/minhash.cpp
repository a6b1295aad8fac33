#include "data/cleaning/minhash.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/rng.h"
#include "data/files/durable.h"

namespace lodestone {

namespace {

constexpr double least_probability = 0.99;

/// Of each hash function the two factors, both odd.
struct Factors {
  Signature a, b;
};
constexpr Factors make_factors() {
  constexpr Key names = Key(0).with("minhash");
  Factors f{};
  for (size_t i = 0; i < f.a.size(); ++i) {
    const uint64_t bits = names.with(i).value();
    f.a[i] = static_cast<uint32_t>(bits) | 1;
    f.b[i] = static_cast<uint32_t>(bits >> 32) | 1;
  }
  return f;
}
constexpr Factors factors = make_factors();

}  // namespace

// Most of the time of a search for near-duplicates is spent here. The compiler makes vector code of it for three instruction sets, of which
// the loader takes one.
__attribute__((target_clones("avx512f", "avx2", "default"))) void sign(std::span<const uint64_t> elements, Signature& out) {
  Signature least;
  least.fill(std::numeric_limits<uint32_t>::max());
  for (const uint64_t element : elements) {
    const auto x = static_cast<uint32_t>(element), y = static_cast<uint32_t>(element >> 32);
    for (size_t i = 0; i < least.size(); ++i) least[i] = std::min(least[i], factors.a[i] * x + factors.b[i] * y);
  }
  out = least;
}

double catch_probability(Bands bands, double jaccard) { return 1 - std::pow(1 - std::pow(jaccard, bands.values), bands.count); }

Bands bands_for(double threshold) {
  for (int values = minhash_values; values > 1; --values)
    if (const Bands bands{minhash_values / values, values}; catch_probability(bands, threshold) >= least_probability) return bands;
  return {minhash_values, 1};
}

uint64_t band_hash(const Signature& signature, Bands bands, int band) {
  const auto values = static_cast<size_t>(bands.values);
  return checksum(std::as_bytes(std::span(signature).subspan(static_cast<size_t>(band) * values, values)));
}

}  // namespace lodestone
