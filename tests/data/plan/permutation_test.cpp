// Is the keyed order of rows a bijection, and does it look random?
#include "data/plan/permutation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

namespace lodestone {
namespace {

std::vector<int64_t> order(Key key, int64_t n) {
  const Permutation permutation(key, n);
  std::vector<int64_t> result;
  for (int64_t k = 0; k < n; ++k) result.push_back(permutation(k));
  return result;
}

bool is_bijection(std::vector<int64_t> order) {
  std::sort(order.begin(), order.end());
  for (size_t i = 0; i < order.size(); ++i) {
    if (order[i] != static_cast<int64_t>(i)) return false;
  }
  return true;
}

TEST(Permutation, IsABijectionForEverySizeUpTo2000) {
  for (int64_t n = 1; n <= 2000; ++n) {
    EXPECT_TRUE(is_bijection(order(Key(7).with(static_cast<uint64_t>(n)), n))) << n;
  }
}

TEST(Permutation, IsABijectionForLargeSizes) {
  for (const int64_t n : {65536, 99991, 1000003}) EXPECT_TRUE(is_bijection(order(Key(3), n))) << n;
}

TEST(Permutation, StaysInRangeForSizesBeyond32Bits) {
  const int64_t n = (int64_t{1} << 40) + 12345;
  const Permutation permutation(Key(5), n);
  std::vector<int64_t> seen;
  for (int64_t k = n - 10000; k < n; ++k) {
    seen.push_back(permutation(k));
    ASSERT_GE(seen.back(), 0);
    ASSERT_LT(seen.back(), n);
  }
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(std::adjacent_find(seen.begin(), seen.end()), seen.end());
}

TEST(Permutation, RefusesAnEmptyRange) { EXPECT_THROW(Permutation(Key(1), 0), Error); }

TEST(Permutation, DependsOnTheKeyOnly) {
  EXPECT_EQ(order(Key(1).with("rows"), 500), order(Key(1).with("rows"), 500));
  EXPECT_NE(order(Key(1), 500), order(Key(2), 500));
}

// 24,000 keys over the 24 orders of 4 elements: chi-square with 23 degrees of freedom is below 58.6 with probability 1 - 6e-5.
TEST(Permutation, AllOrdersOfFourElementsAreEquallyLikely) {
  std::map<std::vector<int64_t>, int> count;
  for (uint64_t key = 0; key < 24000; ++key) ++count[order(Key(key), 4)];
  EXPECT_EQ(count.size(), 24u);
  double chi_square = 0;
  for (const auto& [_, c] : count) chi_square += (c - 1000.0) * (c - 1000.0) / 1000.0;
  EXPECT_LT(chi_square, 58.6);
}

// Where does position k go? 50 x 50 cells of 400 each; cell counts sum to 20,000 along rows and columns: 49^2 degrees of
// freedom, standard deviation of chi-square sqrt(2 * 2401) = 69.3; five of them are allowed.
TEST(Permutation, EveryElementIsEquallyLikelyAtEveryPosition) {
  const int64_t n = 50;
  const int keys = 20000;
  std::vector<double> count(static_cast<size_t>(n * n), 0);
  for (uint64_t key = 0; key < keys; ++key) {
    const Permutation permutation(Key(99).with(key), n);
    for (int64_t k = 0; k < n; ++k) ++count[static_cast<size_t>(k * n + permutation(k))];
  }
  double chi_square = 0;
  for (const double c : count) chi_square += (c - 400) * (c - 400) / 400;
  EXPECT_NEAR(chi_square, 2401, 5 * 69.3);
}

// The differences of neighbours of a random order mod n are uniform over 1 .. n-1: 16 bins of a million, 15 degrees of freedom.
TEST(Permutation, NeighboursAreUnrelated) {
  const int64_t n = 1000003;
  const Permutation permutation(Key(11), n);
  std::vector<double> bins(16, 0);
  for (int64_t k = 0; k + 1 < n; ++k) {
    const int64_t difference = (permutation(k + 1) - permutation(k) + n) % n;
    ++bins[static_cast<size_t>(difference * 16 / n)];
  }
  const double expected = static_cast<double>(n - 1) / 16;
  double chi_square = 0;
  for (const double c : bins) chi_square += (c - expected) * (c - expected) / expected;
  EXPECT_LT(chi_square, 45);  // probability 1e-4
}

}  // namespace
}  // namespace lodestone
