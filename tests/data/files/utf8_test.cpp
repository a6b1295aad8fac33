// Does validate_utf8 accept all of RFC 3629 and nothing else, and are names of files made to fit?
#include "data/files/utf8.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

namespace lodestone {
namespace {

/// The arithmetic of UTF-8 without any check: also makes surrogates and code points above U+10FFFF.
std::string unchecked(uint32_t c) {
  if (c < 0x80) return {static_cast<char>(c)};
  if (c < 0x800) return {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 63))};
  if (c < 0x10000) return {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 63)), static_cast<char>(0x80 | (c & 63))};
  return {static_cast<char>(0xF0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 63)), static_cast<char>(0x80 | (c >> 6 & 63)),
          static_cast<char>(0x80 | (c & 63))};
}

TEST(Utf8, AcceptsEveryScalarValueAndNoSurrogateAndNothingAboveTheLastCodePoint) {
  for (uint32_t c = 0; c < 0x140000; ++c) {
    const bool scalar = c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF);
    ASSERT_EQ(!validate_utf8("12345678a" + unchecked(c) + "b").has_value(), scalar) << std::hex << c;
  }
}

TEST(Utf8, DecidesEveryTwoByteStringAsTheDefinitionDoes) {
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      const std::string s{static_cast<char>(a), static_cast<char>(b)};
      const bool valid = (a < 0x80 && b < 0x80) || (a >= 0xC2 && a <= 0xDF && b >= 0x80 && b <= 0xBF);
      ASSERT_EQ(!validate_utf8(s).has_value(), valid) << a << ' ' << b;
    }
  }
}

TEST(Utf8, RefusesOverlongForms) {
  for (const std::string s : {"\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xE0\x9F\xBF", "\xF0\x80\x80\x80", "\xF0\x8F\xBF\xBF"})
    EXPECT_EQ(validate_utf8(s), 0u);
}

TEST(Utf8, NamesTheFirstByteOfTheFirstBadSequenceAtEveryAlignment) {
  for (size_t before = 0; before < 40; ++before) {
    const std::string prefix(before, 'x');
    EXPECT_EQ(validate_utf8(prefix + "\xFF" + "tail of ascii \xFF"), before);
    EXPECT_EQ(validate_utf8(prefix + "\xE4\xB8"), before) << "cut off by the end";
    EXPECT_EQ(validate_utf8(prefix + "\xE4\xB8" + "a"), before) << "continuation missing";
    EXPECT_EQ(validate_utf8(prefix + "\xE4\xB8\xAD" + "\x80"), before + 3) << "stray continuation";
  }
}

TEST(Utf8, WritesTheBytesOfANameThatAreNoText) {
  EXPECT_EQ(utf8_name(""), "");
  EXPECT_EQ(utf8_name("gr\xC3\xBC\xC3\x9F.jsonl"), "gr\xC3\xBC\xC3\x9F.jsonl");
  EXPECT_EQ(utf8_name("latin\xE9.jsonl"), "latin\\xe9.jsonl");
  EXPECT_EQ(utf8_name("\xFF\xE4\xB8"), "\\xff\\xe4\\xb8");
}

TEST(Utf8, AcceptsEmptyTextNulAndByteOrderMark) {
  EXPECT_EQ(validate_utf8(""), std::nullopt);
  EXPECT_EQ(validate_utf8(std::string_view("a\0b", 3)), std::nullopt);
  EXPECT_EQ(validate_utf8("\xEF\xBB\xBF"
                          "a"),
            std::nullopt);
}

}  // namespace
}  // namespace lodestone
