// Does this build, with the utf8proc it is linked to, treat every code point as Hugging Face's tokenizers does?
#include "data/text/unicode.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <array>
#include <sstream>

#include "data/text/unicode_exceptions.h"

namespace lodestone {
namespace {

void print(std::ostream& out, const std::u32string& text) {
  for (size_t i = 0; i < text.size(); ++i) out << (i ? "," : "") << static_cast<uint32_t>(text[i]);
}

TEST(Unicode, EveryCodePointIsTreatedAsTheTokenizersPackageTreatsIt) {
  std::array<uLong, 17> crc{};
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    const CodePoint p = describe(c);
    const std::u32string whole = decompose(c);
    const bool composed = whole != std::u32string(1, c);
    std::ostringstream record;
    record << std::uppercase << std::hex << static_cast<uint32_t>(c) << ' ' << p.removed << p.whitespace << p.chinese << p.punctuation
           << (p.accent && !composed) << ' ' << std::dec << (composed ? 0 : int{p.combining_class}) << ' ' << std::hex;
    print(record, whole);
    record << ' ';
    print(record, to_lower(c));
    record << '\n';
    const std::string bytes = record.str();
    crc[c >> 16] = crc32(crc[c >> 16], reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size()));
  }
  for (size_t plane = 0; plane < crc.size(); ++plane)
    EXPECT_EQ(crc[plane], unicode_exceptions::behaviour_crc32[plane])
        << "plane " << plane << ": another version of utf8proc? tests/parity/make_unicode_exceptions.py --write shows what changed";
}

TEST(Unicode, EncodesTheFirstAndLastCodePointOfEachLength) {
  std::string text(20, '?');
  size_t size = 0;
  for (const char32_t c : {0x0u, 0x7Fu, 0x80u, 0x7FFu, 0x800u, 0xFFFFu, 0x10000u, 0x10FFFFu}) size += put_utf8(c, text.data() + size);
  ASSERT_EQ(size, text.size());
  EXPECT_EQ(text, std::string("\0\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF", 20));
}

}  // namespace
}  // namespace lodestone
