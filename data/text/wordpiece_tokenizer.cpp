// BERT's WordPiece: characters gather into words as the character table says, and WordPiece cuts the words into tokens.
#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "core/error.h"
#include "data/files/utf8.h"
#include "data/text/added_tokens.h"
#include "data/text/character_table.h"
#include "data/text/tokenizer_files.h"
#include "data/text/tokenizer_kind.h"
#include "data/text/tokenizer_spec.h"
#include "data/text/unicode.h"
#include "data/text/wordpiece.h"

namespace lodestone {
namespace {

using Kind = CharacterTable::Kind;
using Element = CharacterTable::Element;

/// Eight ASCII bytes with capitals made small if `small` is 0x20 in each byte, and as they are if it is 0.
uint64_t fold_eight(uint64_t bytes, uint64_t small) {
  constexpr uint64_t each_byte = 0x0101010101010101u;
  const uint64_t from_a = bytes + each_byte * (0x80 - 'A'), beyond_z = bytes + each_byte * (0x7F - 'Z');
  return bytes | (((from_a ^ beyond_z) & each_byte * 0x80) >> 2 & small);
}

/// The word being gathered. Once it has more characters than allowed, its bytes no longer matter.
struct Word {
  static constexpr size_t slack = 16;  // bytes beyond the word that may be read
  std::vector<char> bytes = std::vector<char>(512);
  size_t size = 0;
  int64_t characters = 0;

  char* room_for(size_t more) {
    if (size + more + slack > bytes.size()) bytes.resize(2 * (size + more + slack));
    return bytes.data() + size;
  }
};

struct WordMemory final : TokenizerKind::Memory {
  Word word;
  std::vector<Element> marks, ordered;
  std::optional<WordCache> cache;  // none: every word is looked up
  int64_t steps_taken = 0;
  int64_t steps() const override { return steps_taken; }
};

Vocabulary vocabulary_of(const TokenizerSpec& spec) {
  const auto id_of = [&](const std::string& token) {
    const auto at = std::find(spec.tokens.begin(), spec.tokens.end(), token);
    LODE_CHECK(at != spec.tokens.end(), "tokenizer: no token ", token);
    return static_cast<int32_t>(at - spec.tokens.begin());
  };
  return {.tokens = spec.tokens,
          .cls = id_of(spec.cls),
          .sep = id_of(spec.sep),
          .pad = id_of(spec.pad),
          .unk = id_of(spec.unk),
          .mask = id_of(spec.mask),
          .fingerprint = fingerprint_of(spec)};
}

class WordPieceTokenizer final : public TokenizerKind {
 public:
  explicit WordPieceTokenizer(const TokenizerSpec& spec);
  std::unique_ptr<Memory> make_memory(Remember remember) const override;
  void encode(std::string_view text, Memory& memory, std::vector<int32_t>& ids) const override;
  bool continues_word(int32_t id) const override;
  void write_files(int64_t max_seq_length, const std::filesystem::path& to) const override;

 private:
  class Run;

  TokenizerOptions options_;
  int64_t word_piece_tokens_;
  AddedTokens added_;
  WordPiece word_piece_;
  CharacterTable characters_;
  std::array<bool, 256> ascii_letter_{};          // bytes that are part of a word, in lower case if that is asked for
  std::array<CharacterTable::Entry, 128> ascii_;  // the beginning of `characters_`
};

/// Encodes one stretch of text without added tokens.
class WordPieceTokenizer::Run {
 public:
  Run(const WordPieceTokenizer& tokenizer, WordMemory& memory, std::vector<int32_t>& ids)
      : t_(tokenizer), memory_(memory), word_(memory.word), ids_(ids) {}

  void encode(std::string_view text) {
    const char* p = text.data();
    const char* const end = p + text.size();
    while (p < end) {
      const char* const run = p;
      while (p < end && t_.ascii_letter_[static_cast<unsigned char>(*p)]) ++p;
      if (p > run) add_ascii(run, static_cast<size_t>(p - run), end);
      if (p == end) break;
      if (static_cast<unsigned char>(*p) < 0x80) {
        const CharacterTable::Entry entry = t_.ascii_[static_cast<unsigned char>(*p)];
        if (entry.kind() == Kind::space || entry.kind() == Kind::isolated) {
          end_word();
          if (entry.kind() == Kind::isolated) ids_.push_back(static_cast<int32_t>(entry.value()));
          ++p;
          continue;
        }
      }
      p = add_character(p, end);
    }
    end_word();
  }

 private:
  bool too_long(int64_t characters) const { return characters > t_.options_.max_characters_per_word; }

  /// n ASCII letters at p; the text goes on to `end`.
  void add_ascii(const char* p, size_t n, const char* end) {
    word_.characters += static_cast<int64_t>(n);
    if (too_long(word_.characters)) return;
    const uint64_t small = t_.options_.lower_case ? 0x2020202020202020u : 0;
    char* out = word_.room_for(n + 8);
    size_t done = 0;
    for (; done < n && p + done + 8 <= end; done += 8) fold_to(p + done, 8, small, out + done);
    if (done < n) fold_to(p + done, n - done, small, out + done);
    word_.size += n;
  }

  static void fold_to(const char* p, size_t n, uint64_t small, char* out) {
    uint64_t bytes = 0;
    std::memcpy(&bytes, p, n);
    bytes = fold_eight(bytes, small);
    std::memcpy(out, &bytes, 8);
  }

  void add_bytes(const char* p, size_t n) {
    if (too_long(++word_.characters)) return;
    std::memcpy(word_.room_for(n), p, n);
    word_.size += n;
  }

  void add_code_point(char32_t c) {
    if (too_long(++word_.characters)) return;
    word_.size += put_utf8(c, word_.room_for(4));
  }

  void end_word() {
    if (word_.characters == 0) return;
    const size_t size = std::exchange(word_.size, 0);
    if (too_long(std::exchange(word_.characters, 0))) {
      ids_.push_back(t_.vocabulary().unk);
    } else if (memory_.cache && size <= WordCache::longest_word) {
      WordCache::Entry& entry = memory_.cache->place(word_.bytes.data(), size);
      if (entry.count == 0) {
        const size_t before = ids_.size();
        memory_.steps_taken += t_.word_piece_.append({word_.bytes.data(), size}, ids_);
        const size_t count = ids_.size() - before;
        if (count > WordCache::most_ids) return;
        std::copy_n(ids_.end() - static_cast<std::ptrdiff_t>(count), count, entry.ids.begin());
        entry.count = static_cast<uint32_t>(count);
      } else {
        for (uint32_t i = 0; i < entry.count; ++i) ids_.push_back(entry.ids[i]);
      }
    } else {
      memory_.steps_taken += t_.word_piece_.append({word_.bytes.data(), size}, ids_);
    }
  }

  void add_element(Element element) {
    switch (element.kind) {
      case Kind::map:
        add_code_point(element.value);
        break;
      case Kind::isolated:
        end_word();
        ids_.push_back(static_cast<int32_t>(element.value));
        break;
      case Kind::space:
        end_word();
        break;
      case Kind::stop:
      case Kind::copy:  // no element is one of these four
      case Kind::skip:
      case Kind::sequence:
      case Kind::marks:
        break;
    }
  }

  /// Adds the character at p, and the marks after it if their order matters. Returns where the next one begins.
  const char* add_character(const char* p, const char* end) {
    const Decoded next = decode_utf8(p, end);
    const CharacterTable::Entry entry = t_.characters_.at(next.c);
    switch (entry.kind()) {
      case Kind::copy:
        add_bytes(p, next.length);
        break;
      case Kind::map:
        add_code_point(entry.value());
        break;
      case Kind::skip:
      case Kind::stop:
        break;
      case Kind::space:
        end_word();
        break;
      case Kind::isolated:
        end_word();
        ids_.push_back(static_cast<int32_t>(entry.value()));
        break;
      case Kind::sequence:
        for (const Element& element : t_.characters_.elements(entry)) add_element(element);
        break;
      case Kind::marks:
        return add_marks(p, end);
    }
    return p + next.length;
  }

  /// From a character with marks on, as far as marks (and characters that become nothing) go on.
  const char* add_marks(const char* p, const char* end) {
    while (p < end) {
      const Decoded next = decode_utf8(p, end);
      const CharacterTable::Entry entry = t_.characters_.at(next.c);
      if (entry.kind() == Kind::marks) {
        for (const Element& element : t_.characters_.elements(entry)) {
          if (element.combining_class != 0) {
            memory_.marks.push_back(element);
          } else {
            end_marks();
            add_element(element);
          }
        }
      } else if (entry.kind() != Kind::skip) {
        break;
      }
      p += next.length;
    }
    end_marks();
    return p;
  }

  /// Adds the marks gathered, ordered by class and within a class as they came: a counting sort.
  void end_marks() {
    if (memory_.marks.size() == 1) {
      add_element(memory_.marks[0]);
      return memory_.marks.clear();
    }
    std::array<size_t, 257> start{};
    for (const Element& mark : memory_.marks) ++start[mark.combining_class + 1u];
    for (size_t k = 1; k < start.size(); ++k) start[k] += start[k - 1];
    memory_.ordered.resize(memory_.marks.size());
    for (const Element& mark : memory_.marks) memory_.ordered[start[mark.combining_class]++] = mark;
    for (const Element& mark : memory_.ordered) add_element(mark);
    memory_.marks.clear();
  }

  const WordPieceTokenizer& t_;
  WordMemory& memory_;
  Word& word_;
  std::vector<int32_t>& ids_;
};

void WordPieceTokenizer::encode(std::string_view text, Memory& memory, std::vector<int32_t>& ids) const {
  Run run(*this, static_cast<WordMemory&>(memory), ids);
  size_t from = 0;
  while (const std::optional<AddedTokens::Hit> hit = added_.next(text, from)) {
    run.encode(text.substr(from, hit->begin - from));
    ids.push_back(hit->id);
    from = hit->end;
  }
  run.encode(text.substr(from));
}

WordPieceTokenizer::WordPieceTokenizer(const TokenizerSpec& spec)
    : TokenizerKind(vocabulary_of(spec)),
      options_(spec.options),
      word_piece_tokens_(spec.word_piece_tokens),
      added_(spec.added),
      word_piece_(std::span(vocabulary().tokens).first(static_cast<size_t>(spec.word_piece_tokens)), options_.continuing_prefix,
                  vocabulary().unk),
      characters_(options_, [this](std::string_view character) {
        std::vector<int32_t> ids;
        word_piece_.append(character, ids);
        return options_.max_characters_per_word >= 1 ? ids.at(0) : vocabulary().unk;
      }) {
  for (size_t byte = 0; byte < ascii_.size(); ++byte) {
    ascii_[byte] = characters_.at(static_cast<char32_t>(byte));
    ascii_letter_[byte] = ascii_[byte].kind() == Kind::copy || ascii_[byte].kind() == Kind::map;
  }
}

std::unique_ptr<TokenizerKind::Memory> WordPieceTokenizer::make_memory(Remember remember) const {
  auto memory = std::make_unique<WordMemory>();
  if (remember == Remember::words) memory->cache.emplace();
  return memory;
}

bool WordPieceTokenizer::continues_word(int32_t id) const {
  return vocabulary().tokens.at(static_cast<size_t>(id)).starts_with(options_.continuing_prefix);
}

void WordPieceTokenizer::write_files(int64_t max_seq_length, const std::filesystem::path& to) const {
  const Vocabulary& v = vocabulary();
  const auto token = [&v](int32_t id) { return v.tokens[static_cast<size_t>(id)]; };
  write_tokenizer_files({.options = options_,
                         .tokens = v.tokens,
                         .word_piece_tokens = word_piece_tokens_,
                         .added = added_.tokens(),
                         .cls = token(v.cls),
                         .sep = token(v.sep),
                         .pad = token(v.pad),
                         .unk = token(v.unk),
                         .mask = token(v.mask)},
                        max_seq_length, to);
}

}  // namespace

std::unique_ptr<const TokenizerKind> make_word_piece(const TokenizerSpec& spec) { return std::make_unique<WordPieceTokenizer>(spec); }

}  // namespace lodestone
