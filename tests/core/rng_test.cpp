// Is the random number generator the published one, and are dropout masks fair and independent?
#include "core/rng.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace lodestone {

using Block = std::array<uint32_t, 4>;

// The known-answer vectors of Random123 (kat_vectors) for philox4x32-10.
TEST(Philox, GivesThePublishedAnswers) {
  EXPECT_EQ(philox(0, {0, 0, 0, 0}), (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(~uint64_t{0}, {~0u, ~0u, ~0u, ~0u}), (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox(0x299f31d0a4093822ull, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Key, DerivedKeysDiffer) {
  std::set<uint64_t> seen;
  for (uint64_t i = 0; i < 1000; ++i) {
    seen.insert(Key(7).with(i).value());
    seen.insert(Key(7).with("layer").with(i).value());
  }
  EXPECT_EQ(seen.size(), 2000u);
}

// 200,000 draws at p = 0.1: the share of drops has standard deviation sqrt(p (1-p) / n) = 0.00067; five of them are allowed.
TEST(Dropout, DropsTheAskedShare) {
  const Key key = Key(3).with("dropout");
  const uint32_t threshold = dropout_threshold(0.1);
  int64_t dropped = 0;
  for (uint32_t index = 0; index < 500; ++index)
    for (uint32_t e = 0; e < 400; ++e) dropped += dropout_bits(key, 99, index, e) < threshold;
  EXPECT_NEAR(static_cast<double>(dropped) / 200000, 0.1, 5 * 0.00067);
}

// Agreement of two independent masks at p = 0.5 is 0.5 with standard deviation 0.5 / sqrt(40000) = 0.0025.
TEST(Dropout, MasksOfTextsPositionsAndNeighbouringElementsAreIndependent) {
  const Key key = Key(3).with("dropout");
  const auto dropped = [&](uint64_t text, uint32_t index, uint32_t e) { return dropout_bits(key, text, index, e) < 32768; };
  int other_text = 0, other_position = 0, next = 0, far = 0;
  for (uint32_t index = 0; index < 100; ++index)
    for (uint32_t e = 0; e < 400; ++e) {
      other_text += dropped(1, index, e) == dropped(2, index, e);
      other_position += dropped(1, index, e) == dropped(1, index + 100, e);
      next += dropped(1, index, e) == dropped(1, index, e + 1);
      far += dropped(1, index, e) == dropped(1, index, e + 64);
    }
  for (const int agree : {other_text, other_position, next, far}) EXPECT_NEAR(agree / 40000.0, 0.5, 5 * 0.0025);
}

TEST(TextKey, DependsOnRowRoleNumberAndSlot) {
  const std::set<uint64_t> keys{text_key(1, Role::query, 0, 0),    text_key(2, Role::query, 0, 0),    text_key(1, Role::positive, 0, 0),
                                text_key(1, Role::negative, 0, 0), text_key(1, Role::negative, 1, 0), text_key(1, Role::query, 0, 1)};
  EXPECT_EQ(keys.size(), 6u);
}

}  // namespace lodestone
