// Letters: what is each code point to whoever cleans texts? One table for all of them.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "data/text/unicode.h"

namespace lodestone {

/// Scripts by which a text's language can be told roughly.
enum class Script : uint8_t { none, han, kana, hangul, latin, cyrillic, greek, arabic, hebrew, devanagari, thai };

/// As options name them.
constexpr std::string_view name_of(Script value) {
  switch (value) {
    case Script::none:
      return "none";
    case Script::han:
      return "han";
    case Script::kana:
      return "kana";
    case Script::hangul:
      return "hangul";
    case Script::latin:
      return "latin";
    case Script::cyrillic:
      return "cyrillic";
    case Script::greek:
      return "greek";
    case Script::arabic:
      return "arabic";
    case Script::hebrew:
      return "hebrew";
    case Script::devanagari:
      return "devanagari";
    case Script::thai:
      return "thai";
  }
  return {};
}

class Letters {
 public:
  /// Takes some 20 ms and 4 MiB.
  Letters();

  class Letter {
   public:
    explicit Letter(uint32_t packed) : packed_(packed) {}
    /// The lower case; of the few that have several code points there the first.
    char32_t lower() const { return packed_ & 0x1FFFFFu; }
    CharacterKind kind() const { return static_cast<CharacterKind>(packed_ >> 21 & 3); }
    /// A word by itself: a letter of a script that is written without blanks (Chinese, kana, Thai, Lao, Khmer, Burmese).
    bool alone() const { return (packed_ >> 23 & 1) != 0; }
    Script script() const { return static_cast<Script>(packed_ >> 24); }
    /// Whether words are made of it: letters, marks and digits.
    bool in_word() const { return kind() == CharacterKind::letter || kind() == CharacterKind::digit; }

   private:
    uint32_t packed_;
  };

  /// c <= 0x10FFFF.
  Letter at(char32_t c) const { return Letter(of_[c]); }

 private:
  std::vector<uint32_t> of_;
};

}  // namespace lodestone
