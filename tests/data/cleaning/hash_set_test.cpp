// Does the set of hashes know what came before, in the memory that it may take?
#include "data/cleaning/hash_set.h"

#include <gtest/gtest.h>

#include <unordered_set>

#include "core/rng.h"

namespace lodestone {
namespace {

TEST(HashSet, KnowsWhatCameBefore) {
  HashSet set;
  std::unordered_set<uint64_t> reference;
  for (uint64_t i = 0; i < 300'000; ++i) {
    const uint64_t hash = mix64(i % 7 == 0 ? i / 2 : i);
    EXPECT_EQ(set.insert(hash), reference.insert(hash).second);
  }
  EXPECT_EQ(set.size(), std::ssize(reference));
  for (const uint64_t hash : reference) ASSERT_FALSE(set.insert(hash));
}

TEST(HashSet, HoldsHashesThatCollideInTheirPlaces) {
  HashSet set;
  for (uint64_t low = 1; low < 5000; ++low) EXPECT_TRUE(set.insert(low)) << "all of one shard, with one first place";
  for (uint64_t low = 1; low < 5000; ++low) EXPECT_FALSE(set.insert(low));
  EXPECT_FALSE(set.insert(0)) << "0 counts as 1";
}

TEST(HashSet, TakesAtMost16BytesAHash) {
  HashSet set;
  for (uint64_t i = 0; i < 2'000'000; ++i) {
    set.insert(mix64(i));
    const bool asked = i % 1000 == 0 && i >= 100'000;
    ASSERT_LE(asked ? set.peak_bytes() : 0, 16 * set.size()) << i;
  }
}

TEST(SlowHashSet, Holds75MillionHashesInLessThan2Gigabytes) {
  HashSet set;
  for (uint64_t i = 0; i < 75'000'000; ++i) set.insert(mix64(i));
  EXPECT_EQ(set.size(), 75'000'000);
  EXPECT_LE(set.peak_bytes(), int64_t{16} * 75'000'000);
}

}  // namespace
}  // namespace lodestone
