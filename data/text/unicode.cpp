// The rules over utf8proc's categories, and where the exceptions enter. tests/parity/make_unicode_exceptions.py restates
// these rules: a change here needs the same change there and a new table.
#include "data/text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "core/error.h"
#include "data/text/unicode_exceptions.h"

namespace lodestone {
namespace {

/// The range of a sorted table that holds c, or nullptr.
template <class Range, size_t n>
const Range* find(const std::array<Range, n>& table, char32_t c) {
  if (table.empty() || c < table.front().first || c > table.back().last) return nullptr;
  const auto at = std::upper_bound(table.begin(), table.end(), c, [](char32_t x, const Range& r) { return x < r.first; });
  return c <= (at - 1)->last ? &*(at - 1) : nullptr;
}

template <size_t n>
bool contains(const std::array<unicode_exceptions::Range, n>& table, char32_t c) {
  return find(table, c) != nullptr;
}

bool is_ascii_punctuation(char32_t c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

}  // namespace

CodePoint describe(char32_t c) {
  namespace exceptions = unicode_exceptions;
  const utf8proc_property_t* property = utf8proc_get_property(static_cast<utf8proc_int32_t>(c));
  const int category = property->category;
  const bool control = category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_CO;
  const bool separator = category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
  const bool punctuation = category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
  CodePoint p;
  p.removed = (control && c != '\t' && c != '\n' && c != '\r') || c == 0xFFFD;
  p.whitespace = separator || (c >= '\t' && c <= '\r') || c == 0x85;
  p.punctuation = punctuation || is_ascii_punctuation(c);
  p.accent = category == UTF8PROC_CATEGORY_MN;
  p.chinese = contains(exceptions::chinese, c);
  p.removed ^= contains(exceptions::removed, c);
  p.whitespace ^= contains(exceptions::whitespace, c);
  p.punctuation ^= contains(exceptions::punctuation, c);
  p.accent ^= contains(exceptions::accent, c);
  p.combining_class = contains(exceptions::starter, c) ? uint8_t{0} : static_cast<uint8_t>(property->combining_class);
  return p;
}

CharacterKind kind_of(char32_t c) {
  const int category = utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->category;
  if (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_ME) return CharacterKind::letter;
  if (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO) return CharacterKind::digit;
  const bool separator = category >= UTF8PROC_CATEGORY_ZS && category <= UTF8PROC_CATEGORY_ZP;
  return separator || (c >= '\t' && c <= '\r') || c == 0x85 ? CharacterKind::space : CharacterKind::other;
}

std::u32string decompose(char32_t c) {
  if (contains(unicode_exceptions::undecomposed, c)) return {c};
  std::array<utf8proc_int32_t, 32> buffer{};
  int boundary = 0;
  const utf8proc_ssize_t n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), buffer.data(), buffer.size(),
                                                     static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE), &boundary);
  LODE_CHECK(n > 0 && n <= static_cast<utf8proc_ssize_t>(buffer.size()), "utf8proc cannot decompose code point ", static_cast<uint32_t>(c));
  return {buffer.begin(), buffer.begin() + n};
}

std::u32string to_lower(char32_t c) {
  if (const unicode_exceptions::Mapping* m = find(unicode_exceptions::lower, c)) {
    std::u32string image(1, m->to + (c - m->first));
    if (m->then != 0) image += m->then;
    return image;
  }
  return {static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)))};
}

}  // namespace lodestone
