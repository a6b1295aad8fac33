// What do BERT's normaliser and pre-tokeniser, as Hugging Face's tokenizers has them, and who counts characters know of one code point?
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace lodestone {

/// Properties of a code point from utf8proc, corrected by the generated table of exceptions (unicode_exceptions.h).
struct CodePoint {
  bool removed = false;         // clean_text drops it: controls, formats, private use, U+FFFD
  bool whitespace = false;      // separates words; clean_text makes it a blank
  bool chinese = false;         // handle_chinese_chars puts blanks around it
  bool punctuation = false;     // is a word of its own
  bool accent = false;          // strip_accents drops it after decomposition (said of code points that decompose to themselves)
  uint8_t combining_class = 0;  // canonical order of marks (likewise)
};
CodePoint describe(char32_t c);

/// What a code point is to somebody who counts characters: its general category.
enum class CharacterKind : uint8_t {
  letter,  // L and M: letters and the marks on them
  digit,   // N: numbers of any script
  space,   // Z, and the white space among the controls
  other,   // P, S and C: punctuation, symbols, controls, what is not assigned
};
CharacterKind kind_of(char32_t c);

/// Canonical decomposition (NFD) of one code point; itself if it has none.
std::u32string decompose(char32_t c);

/// Lower case of one code point, without regard to its neighbours; itself if it has none.
std::u32string to_lower(char32_t c);

/// Writes the UTF-8 form of c <= 0x10FFFF, 1 to 4 bytes, to out and returns its length.
inline size_t put_utf8(char32_t c, char* out) {
  const auto tail = [c](int shift) { return static_cast<char>(0x80 | (c >> shift & 63)); };
  if (c < 0x80) {
    out[0] = static_cast<char>(c);
    return 1;
  }
  if (c < 0x800) {
    out[0] = static_cast<char>(0xC0 | c >> 6);
    out[1] = tail(0);
    return 2;
  }
  if (c < 0x10000) {
    out[0] = static_cast<char>(0xE0 | c >> 12);
    out[1] = tail(6);
    out[2] = tail(0);
    return 3;
  }
  out[0] = static_cast<char>(0xF0 | c >> 18);
  out[1] = tail(12);
  out[2] = tail(6);
  out[3] = tail(0);
  return 4;
}

}  // namespace lodestone
