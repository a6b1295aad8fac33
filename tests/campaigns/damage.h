// Damage: flipped bits and mutated bytes, each a function of a seed and a number, so that any one can be done again alone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace lodestone::test {

/// Numbers one after another, a function of the names (SplitMix64).
class Draws {
 public:
  Draws(uint64_t seed, uint64_t run) : state_(seed * 0x9e3779b97f4a7c15u ^ (run + 1) * 0xd1342543de82ef95u) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
  }
  /// 0 .. n-1; n > 0.
  size_t below(size_t n) { return static_cast<size_t>(next() % n); }

 private:
  uint64_t state_;
};

enum class DamageKind : uint8_t {
  flips,      // one to four bits
  mutations,  // one to four edits: bits, bytes, pieces cut, copied or swapped, the end cut off, and what parsers dislike
};
/// "flips" or "mutations".
std::string_view name_of(DamageKind kind);

/// The bytes with the damage; never equal to them unless they are empty.
std::string damaged(DamageKind kind, std::string bytes, Draws& draws);

}  // namespace lodestone::test
