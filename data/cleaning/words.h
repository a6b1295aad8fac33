// Words: how are texts cut into words, and when do two texts count as the same?
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/cleaning/letters.h"
#include "data/files/durable.h"
#include "data/files/utf8.h"

namespace lodestone {

/// Calls visit(word) for each word of a text, in lower case: a run of letters, marks and digits, or one letter of a script that is written
/// without blanks. The view is valid during the call.
template <class Visit>
void for_each_word(const Letters& letters, std::string_view text, std::string& word, const Visit& visit) {
  std::array<char, 4> bytes{};
  word.clear();
  const auto end_word = [&] {
    if (!word.empty()) visit(std::string_view(word));
    word.clear();
  };
  const char* const end = text.data() + text.size();
  for (const char* p = text.data(); p < end;) {
    const Decoded next = decode_utf8(p, end);
    p += next.length;
    const Letters::Letter letter = letters.at(next.c);
    if (!letter.in_word() || letter.alone()) end_word();
    if (!letter.in_word()) continue;
    if (next.c < 0x80)
      word += static_cast<char>(letter.lower());
    else
      word.append(bytes.data(), put_utf8(letter.lower(), bytes.data()));
    if (letter.alone()) end_word();
  }
  end_word();
}

/// Appends a 64-bit hash of each word of a text. `scratch` is kept for its memory.
void append_word_hashes(const Letters& letters, std::string_view text, std::string& scratch, std::vector<uint64_t>& hashes);

/// A hash of words in this order.
inline uint64_t sequence_hash(std::span<const uint64_t> words) { return checksum(std::as_bytes(words)); }

/// Which texts are the same.
enum class Sameness : uint8_t {
  bytes,   // of equal bytes
  spaces,  // equal but for white space: a run of it is one blank, and none stands at the ends
  words,   // of equal words: also without regard to capitals and punctuation; without words, as for spaces
};

/// As options name them.
constexpr std::string_view name_of(Sameness value) {
  switch (value) {
    case Sameness::bytes:
      return "bytes";
    case Sameness::spaces:
      return "spaces";
    case Sameness::words:
      return "words";
  }
  return {};
}

/// Appends a form of the text that all texts have that are the same, and no others.
void append_form(const Letters& letters, std::string_view text, Sameness sameness, std::string& scratch, std::string& out);

}  // namespace lodestone
