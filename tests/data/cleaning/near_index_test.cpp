// Are near-duplicates found as often as the formula says, and is nothing below the threshold taken for one?
#include "data/cleaning/near_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/rng.h"
#include "tests/support/temp_dir.h"

namespace lodestone {
namespace {

/// Two sets of `size` elements of which `both` are in both: a Jaccard index of both / (2 size - both).
std::pair<std::vector<uint64_t>, std::vector<uint64_t>> two_sets(uint64_t name, int size, int both) {
  std::pair<std::vector<uint64_t>, std::vector<uint64_t>> sets;
  const Key key = Key(name).with("sets");
  for (int i = 0; i < size; ++i) sets.first.push_back(key.bits(static_cast<uint64_t>(i)));
  for (int i = size - both; i < 2 * size - both; ++i) sets.second.push_back(key.bits(static_cast<uint64_t>(i)));
  std::sort(sets.first.begin(), sets.first.end());
  std::sort(sets.second.begin(), sets.second.end());
  return sets;
}

TEST(MinHash, CatchesPairsAsOftenAsTheFormulaSays) {
  struct Case {
    double threshold;
    int size, both;  // of two_sets
  };
  // Jaccard indices 0.8, 0.6, 1/3 and 17/19 of long and short sets, for the bands of three thresholds.
  for (const Case c :
       {Case{0.8, 90, 80}, {0.8, 80, 60}, {0.8, 80, 40}, {0.8, 18, 16}, {0.5, 80, 40}, {0.9, 90, 80}, {0.9, 18, 16}, {0.9, 36, 34}}) {
    const Bands bands = bands_for(c.threshold);
    const double jaccard = static_cast<double>(c.both) / (2 * c.size - c.both), expected = catch_probability(bands, jaccard);
    constexpr int pairs = 4000;
    int caught = 0;
    for (int i = 0; i < pairs; ++i) {
      const auto [a, b] = two_sets(static_cast<uint64_t>(i) * 1000 + static_cast<uint64_t>(c.both), c.size, c.both);
      EXPECT_DOUBLE_EQ(jaccard_index(a, b), jaccard);
      Signature of_a, of_b;
      sign(a, of_a);
      sign(b, of_b);
      bool candidate = false;
      for (int band = 0; band < bands.count; ++band) candidate |= band_hash(of_a, bands, band) == band_hash(of_b, bands, band);
      caught += candidate;
    }
    // Five deviations of a binomial share: one run in a million is farther away, and the pairs are the same in every run.
    const double tolerance = 5 * std::sqrt(expected * (1 - expected) / pairs);
    EXPECT_NEAR(static_cast<double>(caught) / pairs, expected, tolerance)
        << "Jaccard " << jaccard << ", " << bands.count << " bands of " << bands.values;
  }
}

TEST(MinHash, BandsCatchPairsAtTheirThreshold) {
  for (double threshold = 0.3; threshold <= 1; threshold += 0.01) {
    const Bands bands = bands_for(threshold);
    EXPECT_LE(bands.count * bands.values, minhash_values);
    EXPECT_GE(catch_probability(bands, threshold), 0.99) << threshold;
  }
  EXPECT_EQ(bands_for(0.8).count, 21);
  EXPECT_EQ(bands_for(0.8).values, 6);
  EXPECT_NEAR(catch_probability({21, 6}, 0.8), 1 - std::pow(1 - std::pow(0.8, 6), 21), 1e-15);
}

TEST(NearIndex, DropsPlantedPairsFromTheThresholdOnAndNothingBelow) {
  test::TempDir dir;
  NearIndex index(0.8, dir.path());
  int found = 0;
  constexpr int pairs = 2000;
  for (int i = 0; i < pairs; ++i) {
    const auto [a, at_threshold] = two_sets(static_cast<uint64_t>(i), 90, 80);               // 0.8
    const auto [c, below] = two_sets(uint64_t{pairs} + static_cast<uint64_t>(i), 900, 799);  // 0.798
    EXPECT_FALSE(index.find_or_keep(a).has_value());
    const int64_t number = index.kept() - 1;
    EXPECT_FALSE(index.find_or_keep(c).has_value());
    EXPECT_FALSE(index.find_or_keep(below).has_value()) << "799 of 1001";
    const auto near = index.find_or_keep(at_threshold);
    if (!near) continue;
    ++found;
    EXPECT_EQ(near->set, number);
    EXPECT_DOUBLE_EQ(near->jaccard, 0.8);
  }
  // 0.9983 of them are expected: fewer than 0.99 are 7 deviations away.
  EXPECT_GE(found, pairs * 99 / 100);
}

TEST(NearIndex, FindsWhatLiesInTheFileAndWhatDoesNotYet) {
  test::TempDir dir;
  NearIndex index(0.9, dir.path());
  const auto [first, unused] = two_sets(1, 1000, 1);
  EXPECT_FALSE(index.find_or_keep(first).has_value());
  EXPECT_EQ(index.find_or_keep(first)->set, 0);
  for (uint64_t i = 0; i < 300; ++i) EXPECT_FALSE(index.find_or_keep(two_sets(100 + i, 1000, 1).first).has_value());  // 2.4 MB of shingles
  EXPECT_EQ(index.find_or_keep(first)->set, 0);
  EXPECT_EQ(index.find_or_keep(two_sets(399, 1000, 1).first)->set, 300);
  EXPECT_TRUE(std::filesystem::is_empty(dir.path())) << "the file has no name";
  EXPECT_FALSE(index.find_or_keep({}).has_value());
  EXPECT_FALSE(index.find_or_keep({}).has_value()) << "nothing is not like nothing";
}

TEST(NearIndex, TakesTheMemoryThatItSays) {
  test::TempDir dir;
  NearIndex index(0.8, dir.path());
  for (uint64_t i = 0; i < 50'000; ++i) index.find_or_keep(two_sets(i, 8, 1).first);
  const auto most = static_cast<double>(index.bands().count) * 21.4 + 16;
  // Beside it the piece of a mebibyte, and its vector's room, that is not written yet.
  EXPECT_LE(static_cast<double>(index.bytes()), most * static_cast<double>(index.kept()) + 4e6);
}

TEST(NearIndex, SetsOfOneTemplateDoNotFillABucketForEver) {
  test::TempDir dir;
  NearIndex index(0.9, dir.path());
  // All share 70 of 100 shingles: a Jaccard index of 70 / 130 between any two, for which one of 12 bands of 10 is equal in 2 % of pairs.
  std::vector<uint64_t> shared = two_sets(1, 70, 1).first;
  for (uint64_t i = 0; i < 20'000; ++i) {
    std::vector<uint64_t> set = shared;
    for (uint64_t k = 0; k < 30; ++k) set.push_back(mix64(i * 100 + k));
    std::sort(set.begin(), set.end());
    ASSERT_FALSE(index.find_or_keep(set).has_value());
  }
  EXPECT_GT(index.full_buckets(), 0);
  EXPECT_EQ(index.kept(), 20'000);
}

}  // namespace
}  // namespace lodestone
