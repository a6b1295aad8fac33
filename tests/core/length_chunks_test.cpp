// LengthChunks: every text once, sorted, within the budget, with its own tokens and key.
#include "core/length_chunks.h"

#include <gtest/gtest.h>

#include <random>

namespace lodestone::test {
namespace {

struct Texts {
  std::vector<int32_t> ids;
  std::vector<int64_t> offsets{0};
  std::vector<uint64_t> keys;
  std::vector<int64_t> second;
  void add(int64_t length) {
    for (int64_t t = 0; t < length; ++t) ids.push_back(static_cast<int32_t>(1000 * keys.size()) + static_cast<int32_t>(t));
    offsets.push_back(static_cast<int64_t>(ids.size()));
    keys.push_back(77 + keys.size());
    second.push_back(length / 3);
  }
  TokenBatch batch() const { return {ids, offsets, keys, second}; }
};

TEST(LengthChunks, HoldEveryTextOnceWithItsTokensKeyAndTokenTypes) {
  std::mt19937 random(1);
  Texts texts;
  for (int i = 0; i < 100; ++i) texts.add(1 + static_cast<int64_t>(random() % 40));
  const TokenBatch batch = texts.batch();
  LengthChunks chunks;
  for (const int64_t budget : {1, 40, 100, 1'000'000}) {
    chunks.assign(batch, budget);
    std::vector<int> seen(100);
    int64_t place = 0, last_length = 0;
    for (int64_t c = 0; c < chunks.count(); ++c) {
      const TokenBatch chunk = chunks.tokens(c);
      EXPECT_EQ(chunks.places(c).begin, place);
      EXPECT_EQ(chunk.offsets[0], 0);
      EXPECT_TRUE(chunk.texts() == 1 || chunk.tokens() <= budget);
      for (int64_t b = 0; b < chunk.texts(); ++b, ++place) {
        const auto text = static_cast<size_t>(chunks.order()[static_cast<size_t>(place)]);
        seen[text] += 1;
        ASSERT_EQ(chunk.length(b), batch.length(static_cast<int64_t>(text)));
        EXPECT_GE(chunk.length(b), last_length);
        last_length = chunk.length(b);
        EXPECT_EQ(chunk.ids[static_cast<size_t>(chunk.offsets[static_cast<size_t>(b)])], static_cast<int32_t>(1000 * text));
        EXPECT_EQ(chunk.keys[static_cast<size_t>(b)], 77 + text);
        EXPECT_EQ(chunk.second[static_cast<size_t>(b)], batch.second[text]);
      }
      EXPECT_EQ(chunks.places(c).end, place);
    }
    EXPECT_EQ(seen, std::vector<int>(100, 1));
  }
  EXPECT_EQ(chunks.count(), 1);
}

TEST(LengthChunks, OnlyTheFirstMayBeFarFromFull) {
  Texts texts;
  for (int i = 0; i < 25; ++i) texts.add(10);
  LengthChunks chunks;
  chunks.assign(texts.batch(), 100);
  ASSERT_EQ(chunks.count(), 3);
  EXPECT_EQ(chunks.tokens(0).tokens(), 50);
  EXPECT_EQ(chunks.tokens(1).tokens(), 100);
  EXPECT_EQ(chunks.tokens(2).tokens(), 100);
}

TEST(LengthChunks, ATextLongerThanTheBudgetIsAChunkOfItsOwn) {
  Texts texts;
  texts.add(500);
  texts.add(3);
  LengthChunks chunks;
  chunks.assign(texts.batch(), 100);
  ASSERT_EQ(chunks.count(), 2);
  EXPECT_EQ(chunks.tokens(1).tokens(), 500);
}

TEST(LengthChunks, NoTextsMakeNoChunksAndWhatIsAbsentStaysAbsent) {
  Texts texts;
  LengthChunks chunks;
  chunks.assign(texts.batch(), 100);
  EXPECT_EQ(chunks.count(), 0);
  texts.add(4);
  chunks.assign({texts.ids, texts.offsets, {}}, 100);
  EXPECT_TRUE(chunks.tokens(0).keys.empty());
  EXPECT_TRUE(chunks.tokens(0).second.empty());
}

}  // namespace
}  // namespace lodestone::test
