// What becomes of each code point of a text on its way to WordPiece, under given options? Computed once for all of them.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "data/text/tokenizer.h"

namespace lodestone {

class CharacterTable {
 public:
  enum class Kind : uint8_t {
    copy,      // part of a word, as it is
    map,       // part of a word, as another code point: value
    skip,      // nothing
    stop,      // nothing, but marks are not reordered across it
    space,     // ends a word
    isolated,  // is a word of its own, between two others: value is its token id
    sequence,  // becomes several elements: value is for elements()
    marks,     // the same, and some have a combining class: they are put into canonical order with their neighbours
  };
  /// kind in the upper 3 bits, value in the lower 29.
  struct Entry {
    uint32_t packed = 0;
    Kind kind() const { return static_cast<Kind>(packed >> 29); }
    uint32_t value() const { return packed & 0x1FFFFFFFu; }
  };
  /// kind is map (value: code point), stop, space or isolated (value: token id).
  struct Element {
    uint32_t value;
    Kind kind;
    uint8_t combining_class;
  };

  /// token_of(word) is the one token id of a word of one character.
  CharacterTable(const TokenizerOptions& options, const std::function<int32_t(std::string_view)>& token_of);

  /// c <= 0x10FFFF.
  Entry at(char32_t c) const { return blocks_[blocks_of_[c >> 8]][c & 255]; }
  std::span<const Element> elements(Entry entry) const { return {elements_.data() + entry.value() + 1, elements_[entry.value()].value}; }

 private:
  Entry make(char32_t c, const TokenizerOptions& options, const std::function<int32_t(std::string_view)>& token_of);

  using Block = std::array<Entry, 256>;
  std::vector<uint16_t> blocks_of_;  // of the upper bits of a code point
  std::vector<Block> blocks_;        // distinct
  std::vector<Element> elements_;    // each sequence after an element that holds its length
};

}  // namespace lodestone
