// Is this text valid UTF-8, where does it stop being so, and which code points has it?
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace lodestone {

/// Offset in bytes of the first sequence of `text` that is not UTF-8 by RFC 3629 (overlong forms, surrogates, code points
/// above U+10FFFF, stray or missing continuation bytes), or nullopt if all of it is valid. A sequence cut off by the end
/// of the text is reported at its first byte. U+0000 and a byte order mark are valid here.
std::optional<size_t> validate_utf8(std::string_view text);

/// `name` where only UTF-8 may stand, as in JSON: each byte that is not part of valid UTF-8 becomes \xNN. Names of files are bytes.
std::string utf8_name(std::string_view name);

/// A code point and its length in a text.
struct Decoded {
  char32_t c;
  size_t length;  // bytes, at least 1
};

/// The code point at p < end; U+FFFD of one byte where the bytes do not have the form of UTF-8.
inline Decoded decode_utf8(const char* p, const char* end) {
  const auto byte = [p](size_t i) { return char32_t{static_cast<unsigned char>(p[i])}; };
  const auto tail = [byte](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const auto left = static_cast<size_t>(end - p);
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead >= 0xC2 && lead < 0xE0 && left >= 2 && tail(1)) return {(lead & 31) << 6 | (byte(1) & 63), 2};
  if (lead >= 0xE0 && lead < 0xF0 && left >= 3 && tail(1) && tail(2)) return {(lead & 15) << 12 | (byte(1) & 63) << 6 | (byte(2) & 63), 3};
  if (lead >= 0xF0 && lead < 0xF5 && left >= 4 && tail(1) && tail(2) && tail(3)) {
    const char32_t c = (lead & 7) << 18 | (byte(1) & 63) << 12 | (byte(2) & 63) << 6 | (byte(3) & 63);
    if (c <= 0x10FFFF) return {c, 4};
  }
  return {0xFFFD, 1};
}

}  // namespace lodestone
