// Is this text valid UTF-8? The table of well-formed sequences (Unicode Standard, table 3-7) with a fast path for ASCII.
#include "data/files/utf8.h"

#include <cstdint>
#include <cstring>

namespace lodestone {
namespace {

bool in_range(unsigned char byte, unsigned char low, unsigned char high) { return byte >= low && byte <= high; }

/// Length of the well-formed sequence that begins at s, or 0.  s has `left` > 0 bytes.
size_t sequence_length(const unsigned char* s, size_t left) {
  const unsigned char lead = s[0];
  if (lead < 0x80) return 1;
  if (in_range(lead, 0xC2, 0xDF)) return left >= 2 && in_range(s[1], 0x80, 0xBF) ? 2 : 0;
  if (in_range(lead, 0xE0, 0xEF)) {
    const unsigned char low = lead == 0xE0 ? 0xA0 : 0x80;   // below: overlong
    const unsigned char high = lead == 0xED ? 0x9F : 0xBF;  // above: surrogates
    return left >= 3 && in_range(s[1], low, high) && in_range(s[2], 0x80, 0xBF) ? 3 : 0;
  }
  if (in_range(lead, 0xF0, 0xF4)) {
    const unsigned char low = lead == 0xF0 ? 0x90 : 0x80;   // below: overlong
    const unsigned char high = lead == 0xF4 ? 0x8F : 0xBF;  // above: beyond U+10FFFF
    return left >= 4 && in_range(s[1], low, high) && in_range(s[2], 0x80, 0xBF) && in_range(s[3], 0x80, 0xBF) ? 4 : 0;
  }
  return 0;
}

}  // namespace

std::optional<size_t> validate_utf8(std::string_view text) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  size_t at = 0;
  while (at < text.size()) {
    while (at + 8 <= text.size()) {
      uint64_t block;
      std::memcpy(&block, bytes + at, 8);
      if (block & 0x8080808080808080u) break;
      at += 8;
    }
    if (at == text.size()) break;
    const size_t length = sequence_length(bytes + at, text.size() - at);
    if (length == 0) return at;
    at += length;
  }
  return std::nullopt;
}

std::string utf8_name(std::string_view name) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  while (const std::optional<size_t> invalid = validate_utf8(name)) {
    const auto byte = static_cast<unsigned char>(name[*invalid]);
    out += name.substr(0, *invalid);
    out += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    name.remove_prefix(*invalid + 1);
  }
  return out += name;
}

}  // namespace lodestone
