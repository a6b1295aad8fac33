// Does the double-array trie find the longest key, and only keys?
#include "data/text/trie.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

#include "core/error.h"

namespace lodestone {
namespace {

Trie build(const std::map<std::string, int32_t>& keys) {
  return Trie(std::vector<std::pair<std::string_view, int32_t>>(keys.begin(), keys.end()));
}

TEST(Trie, OfNoKeysMatchesNothing) {
  const Trie trie = build({});
  EXPECT_EQ(trie.longest("").length, 0);
  for (int byte = 0; byte < 256; ++byte) EXPECT_EQ(trie.longest(std::string(3, static_cast<char>(byte))).length, 0);
}

TEST(Trie, FindsTheLongestOfNestedKeys) {
  const Trie trie = build({{"a", 1}, {"abc", 2}, {"abcde", 3}, {std::string("\0\xFF", 2), 4}});
  EXPECT_EQ(trie.longest("abcd").value, 2);
  EXPECT_EQ(trie.longest("abcd").length, 3);
  EXPECT_EQ(trie.longest("abcdef").value, 3);
  EXPECT_EQ(trie.longest("ab").value, 1);
  EXPECT_EQ(trie.longest("b").length, 0);
  EXPECT_EQ(trie.longest(std::string_view("\0\xFF\0", 3)).value, 4);
}

TEST(Trie, LooksAtNoMoreBytesThanTheLongestKeyHas) {
  const Trie trie = build({{"aaaa", 1}});
  EXPECT_LE(trie.longest(std::string(1000, 'a')).steps, 5);
}

TEST(Trie, RefusesEmptyAndRepeatedKeys) {
  EXPECT_THROW(Trie({{"", 1}}), Error);
  EXPECT_THROW(Trie({{"a", 1}, {"a", 2}}), Error);
}

TEST(Trie, AgreesWithASortedMapOnRandomKeys) {
  std::mt19937 random(7);
  for (const unsigned letters : {2u, 5u, 256u}) {
    const auto word = [&] {
      std::string s(1 + random() % 9, ' ');
      for (char& c : s) c = static_cast<char>(random() % letters);
      return s;
    };
    std::map<std::string, int32_t> keys;
    for (int32_t i = 0; i < 3000; ++i) keys[word()] = i;
    const Trie trie = build(keys);
    for (int i = 0; i < 20000; ++i) {
      const std::string text = i % 3 ? word() + word() : std::next(keys.begin(), static_cast<int>(random() % keys.size()))->first + word();
      int64_t length = 0;
      int32_t value = -1;
      for (size_t n = 1; n <= text.size(); ++n) {
        const auto at = keys.find(text.substr(0, n));
        if (at != keys.end()) length = static_cast<int64_t>(n), value = at->second;
      }
      const Trie::Match match = trie.longest(text);
      ASSERT_EQ(match.length, length);
      ASSERT_EQ(match.value, value);
    }
  }
}

}  // namespace
}  // namespace lodestone
