#include "data/cleaning/letters.h"

#include <algorithm>
#include <array>

namespace lodestone {

namespace {

constexpr char32_t code_points = 0x110000;

struct Range {
  char32_t first, last;
  Script script;
};

/// The blocks of the Unicode Standard that hold a script's letters, in order. Chinese characters are those of BERT, and U+3005, U+3007.
constexpr std::array<Range, 37> ranges{{
    {0x41, 0x5A, Script::latin},        {0x61, 0x7A, Script::latin},      {0xAA, 0xAA, Script::latin},
    {0xBA, 0xBA, Script::latin},        {0xC0, 0x2AF, Script::latin},     {0x370, 0x3FF, Script::greek},
    {0x400, 0x52F, Script::cyrillic},   {0x590, 0x5FF, Script::hebrew},   {0x600, 0x6FF, Script::arabic},
    {0x750, 0x77F, Script::arabic},     {0x870, 0x8FF, Script::arabic},   {0x900, 0x97F, Script::devanagari},
    {0xE00, 0xE7F, Script::thai},       {0x1100, 0x11FF, Script::hangul}, {0x1C80, 0x1C8F, Script::cyrillic},
    {0x1E00, 0x1EFF, Script::latin},    {0x1F00, 0x1FFF, Script::greek},  {0x2C60, 0x2C7F, Script::latin},
    {0x2DE0, 0x2DFF, Script::cyrillic}, {0x3005, 0x3005, Script::han},    {0x3007, 0x3007, Script::han},
    {0x3041, 0x30FF, Script::kana},     {0x3131, 0x318E, Script::hangul}, {0x31F0, 0x31FF, Script::kana},
    {0xA640, 0xA69F, Script::cyrillic}, {0xA720, 0xA7FF, Script::latin},  {0xA8E0, 0xA8FF, Script::devanagari},
    {0xA960, 0xA97F, Script::hangul},   {0xAC00, 0xD7FF, Script::hangul}, {0xFB00, 0xFB06, Script::latin},
    {0xFB1D, 0xFB4F, Script::hebrew},   {0xFB50, 0xFDFF, Script::arabic}, {0xFE70, 0xFEFE, Script::arabic},
    {0xFF21, 0xFF3A, Script::latin},    {0xFF41, 0xFF5A, Script::latin},  {0xFF66, 0xFF9F, Script::kana},
    {0xFFA0, 0xFFDC, Script::hangul},
}};

/// Scripts without blanks between words, beside Chinese and kana: Thai, Lao, Burmese, Khmer.
bool is_unspaced(char32_t c) { return (c >= 0xE00 && c <= 0xEFF) || (c >= 0x1000 && c <= 0x109F) || (c >= 0x1780 && c <= 0x17FF); }

Script script_of(char32_t c, bool chinese) {
  if (chinese) return Script::han;
  const auto at = std::lower_bound(ranges.begin(), ranges.end(), c, [](const Range& range, char32_t x) { return range.last < x; });
  return at != ranges.end() && c >= at->first ? at->script : Script::none;
}

uint32_t pack(char32_t c) {
  const CharacterKind kind = kind_of(c);
  const bool letter = kind == CharacterKind::letter;
  const bool chinese = letter && c >= 0x2E80 && describe(c).chinese;
  const Script script = letter || chinese || c == 0x3007 ? script_of(c, chinese) : Script::none;
  const bool alone = script == Script::han || script == Script::kana || (letter && is_unspaced(c));
  const char32_t lower = letter ? to_lower(c)[0] : c;
  return static_cast<uint32_t>(lower) | static_cast<uint32_t>(kind) << 21 | static_cast<uint32_t>(alone) << 23 |
         static_cast<uint32_t>(script) << 24;
}

}  // namespace

Letters::Letters() : of_(code_points) {
  for (char32_t c = 0; c < code_points; ++c)
    if (c < 0xD800 || c > 0xDFFF) of_[c] = pack(c);
}

}  // namespace lodestone
