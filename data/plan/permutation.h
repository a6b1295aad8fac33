// Which row comes k-th: a keyed permutation of [0, n) with random access, computed in O(1) and stored nowhere.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/error.h"
#include "core/rng.h"
#include "data/files/below.h"

namespace lodestone {

/// A bijection of [0, n) that looks random and is a function of (key, n) alone: an unbalanced Feistel network over
/// [0, a) x [0, b) with a b >= n, a and b about sqrt(n), walked until it lands inside [0, n) (Black and Rogaway, "Ciphers
/// with arbitrary finite domains", 2002). a b exceeds n by less than 2 sqrt(n), so a second walk is rare.
class Permutation {
 public:
  /// n >= 1.
  Permutation(Key key, int64_t n) : key_(key.value()), n_(static_cast<uint64_t>(n)) {
    LODE_CHECK(n >= 1, "permutation of ", n, " elements");
    a_ = static_cast<uint64_t>(std::ceil(std::sqrt(static_cast<double>(n_))));
    b_ = (n_ + a_ - 1) / a_;
  }
  int64_t size() const { return static_cast<int64_t>(n_); }

  /// The element at position k, k in [0, n).
  int64_t operator()(int64_t k) const {
    uint64_t x = static_cast<uint64_t>(k);
    do x = encrypt(x);
    while (x >= n_);
    return static_cast<int64_t>(x);
  }

 private:
  static constexpr uint64_t rounds = 8;

  uint64_t encrypt(uint64_t x) const {
    uint64_t left = x / b_, right = x % b_;  // left in [0, a), right in [0, b): each round adds a function of the other
    for (uint64_t round = 0; round < rounds; round += 2) {
      left = add(left, word(round, right), a_);
      right = add(right, word(round + 1, left), b_);
    }
    return left * b_ + right;
  }
  uint64_t word(uint64_t round, uint64_t half) const { return mix64(mix64(key_ + round) ^ half); }
  /// (x + a number in [0, m) taken from 64 random bits) mod m, for x in [0, m).
  static uint64_t add(uint64_t x, uint64_t bits, uint64_t m) {
    const uint64_t sum = x + below(bits, m);
    return sum >= m ? sum - m : sum;
  }

  uint64_t key_, n_, a_ = 1, b_ = 1;
};

}  // namespace lodestone
