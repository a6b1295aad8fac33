// NumPy's RandomState, as far as MTEB's sampling and scikit-learn's k-means draw from it: the same seed gives the same draws.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

namespace lodestone {

/// MT19937 as numpy.random.RandomState(seed) seeds and reads it, whose stream NumPy has frozen (NEP 19).
class NumpyRandom {
 public:
  explicit NumpyRandom(uint32_t seed) : engine_(seed) {}

  /// Uniform in [0, most]: the least mask of ones that covers `most`, drawn until it fits.
  int64_t up_to(int64_t most);
  /// Uniform in [0, 1) with 53 random bits: random_sample().
  double uniform();
  /// randint(0, n, count).
  std::vector<int64_t> integers(int64_t n, int64_t count);
  /// choice(n, count), each with probability 1/n, with replacement, as it is where p= is given: by the sums of p.
  std::vector<int64_t> choose(int64_t n, int64_t count);
  /// shuffle(items).
  void shuffle(std::span<int64_t> items);
  /// choice(n, count, replace=False): the first of a permutation. Throws Error (internal) when count > n.
  std::vector<int64_t> choose_distinct(int64_t n, int64_t count);

 private:
  std::mt19937 engine_;
};

}  // namespace lodestone
