// The four steps of BertNormalizer and the splitting of BertPreTokenizer, composed for one code point at a time: clean,
// put Chinese characters apart, decompose and drop accents, lower-case; then white space separates and punctuation isolates.
#include "data/text/character_table.h"

#include <cstring>
#include <string>
#include <unordered_map>

#include "core/error.h"
#include "data/text/unicode.h"

namespace lodestone {
namespace {

using Kind = CharacterTable::Kind;
using Element = CharacterTable::Element;
using TokenOf = std::function<int32_t(std::string_view)>;

constexpr char32_t code_points = 0x110000;

CharacterTable::Entry pack(Kind kind, uint32_t value) {
  LODE_CHECK(value < 1u << 29, "character table: value ", value, " does not fit");
  return {static_cast<uint32_t>(kind) << 29 | value};
}

std::string utf8(char32_t c) {
  std::array<char, 4> bytes{};
  return {bytes.data(), put_utf8(c, bytes.data())};
}

/// After normalising: what the pre-tokenizer makes of c, of which p is the description.
Element split(char32_t c, const CodePoint& p, uint8_t combining_class, const TokenOf& token_of) {
  if (p.whitespace) return {0, Kind::space, combining_class};
  if (p.punctuation) return {static_cast<uint32_t>(token_of(utf8(c))), Kind::isolated, combining_class};
  return {c, Kind::map, combining_class};
}

/// c, described by p, which is neither removed nor white space to be cleaned, decomposed, stripped and lower-cased. An
/// accent without combining class leaves a stop behind: marks are put into order before accents are dropped.
std::vector<Element> normalise(char32_t c, const CodePoint& p, const TokenizerOptions& options, const TokenOf& token_of) {
  std::vector<Element> out;
  for (const char32_t part : options.strip_accents ? decompose(c) : std::u32string(1, c)) {
    const CodePoint of_part = part == c ? p : describe(part);
    const uint8_t combining_class = options.strip_accents ? of_part.combining_class : uint8_t{0};
    if (options.strip_accents && of_part.accent) {
      if (combining_class == 0) out.push_back({0, Kind::stop, 0});
      continue;
    }
    for (const char32_t lowered : options.lower_case ? to_lower(part) : std::u32string(1, part))
      out.push_back(split(lowered, lowered == part ? of_part : describe(lowered), combining_class, token_of));
  }
  return out;
}

}  // namespace

CharacterTable::Entry CharacterTable::make(char32_t c, const TokenizerOptions& options, const TokenOf& token_of) {
  const CodePoint p = describe(c);
  if (options.clean_text && p.removed) return pack(Kind::skip, 0);
  if (options.clean_text && p.whitespace) return pack(Kind::space, 0);
  std::vector<Element> elements = normalise(c, p, options, token_of);
  if (elements.empty()) return pack(Kind::skip, 0);
  const bool single = elements.size() == 1 && elements[0].combining_class == 0;
  if (options.split_chinese_characters && p.chinese) {
    LODE_CHECK(single && elements[0].kind == Kind::map, "character table: Chinese character ", static_cast<uint32_t>(c),
               " is not one letter");
    return pack(Kind::isolated, static_cast<uint32_t>(token_of(utf8(elements[0].value))));
  }
  if (single && elements[0].kind == Kind::map && elements[0].value == c) return pack(Kind::copy, 0);
  if (single) return pack(elements[0].kind, elements[0].value);
  bool marks = false;
  for (const Element& e : elements) marks |= e.combining_class != 0;
  const auto start = static_cast<uint32_t>(elements_.size());
  elements_.push_back({static_cast<uint32_t>(elements.size()), Kind::sequence, 0});
  elements_.insert(elements_.end(), elements.begin(), elements.end());
  return pack(marks ? Kind::marks : Kind::sequence, start);
}

CharacterTable::CharacterTable(const TokenizerOptions& options, const TokenOf& token_of) {
  std::unordered_map<std::string, uint16_t> known;
  std::string key(sizeof(Block), '\0');
  for (char32_t first = 0; first < code_points; first += 256) {
    Block block{};
    for (char32_t i = 0; i < 256; ++i)
      if (const char32_t c = first + i; c < 0xD800 || c > 0xDFFF) block[i] = make(c, options, token_of);
    std::memcpy(key.data(), block.data(), sizeof(Block));
    const auto [at, fresh] = known.try_emplace(key, static_cast<uint16_t>(blocks_.size()));
    if (fresh) blocks_.push_back(block);
    blocks_of_.push_back(at->second);
  }
}

}  // namespace lodestone
