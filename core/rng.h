// Randomness as a function of names: Philox4x32-10 keyed by (seed, purpose, step, text, layer, place, position).
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>

namespace lodestone {

/// Philox4x32-10 (Salmon et al., SC'11): 128 random bits for a 128-bit counter under a 64-bit key.
inline std::array<uint32_t, 4> philox(uint64_t key, std::array<uint32_t, 4> c) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c[0], p1 = uint64_t{0xCD9E8D57u} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1), static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1,
         static_cast<uint32_t>(p0)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

/// A bijective 64-bit mixer (splitmix64's finaliser).
constexpr uint64_t mix64(uint64_t x) {
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

/// A named source of randomness. Keys are values: with() derives a new one, nothing is advanced.
class Key {
 public:
  constexpr Key() = default;
  constexpr explicit Key(uint64_t seed) : value_(mix64(seed)) {}
  constexpr Key with(uint64_t name) const { return from(mix64(value_ ^ mix64(name))); }
  constexpr Key with(std::string_view name) const {
    uint64_t h = 0xcbf29ce484222325ull;  // FNV-1a
    for (const char c : name) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3ull;
    return with(h);
  }
  constexpr uint64_t value() const { return value_; }
  /// 64 random bits for this key and counter.
  uint64_t bits(uint64_t counter) const {
    const auto r = philox(value_, {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0});
    return (uint64_t{r[1]} << 32) | r[0];
  }
  /// Uniform in [0, 1) with 53 random bits.
  double uniform(uint64_t counter) const { return static_cast<double>(bits(counter) >> 11) * 0x1.0p-53; }

 private:
  static constexpr Key from(uint64_t value) {
    Key k;
    k.value_ = value;
    return k;
  }
  uint64_t value_ = 0;
};

/// What a text is in its row: part of the name of its dropout masks, so that a query and its positive never share one.
enum class Role : uint8_t { query = 0, positive = 1, negative = 2, text = 3 };

/// The 64-bit name of one text of a batch, from which, with the step (core/step_texts.h), all its dropout masks derive.
///   row: global row id; role; k: which negative (0 otherwise); slot: place of the row in the global batch.
constexpr uint64_t text_key(uint64_t row, Role role, uint64_t k, uint64_t slot) {
  return Key(row).with(static_cast<uint64_t>(role)).with(k).with(slot).value();
}

/// The 16 random bits that decide whether element e survives dropout. `index` is the token position for masks over
/// [S,H], and (head << 16 | query position) for attention, where e is the key position.
/// Elements go in groups of 128 so that vector code draws 16 counters at once: element 128 g + j uses counter block
/// 16 g + j % 16, word (j / 16) % 4, and the low half for j < 64, the high half above.
inline uint32_t dropout_bits(Key key, uint64_t text, uint32_t index, uint32_t e) {
  const uint32_t j = e % 128;
  const auto r = philox(key.value(), {static_cast<uint32_t>(text), static_cast<uint32_t>(text >> 32), index, (e / 128) * 16 + j % 16});
  const uint32_t word = r[(j / 16) % 4];
  return j < 64 ? word & 0xffffu : word >> 16;
}

/// An element is dropped when its bits are below this; the kept ones are divided by 1 - threshold / 65536.
inline uint32_t dropout_threshold(double p) { return static_cast<uint32_t>(std::lround(p * 65536.0)); }

}  // namespace lodestone
