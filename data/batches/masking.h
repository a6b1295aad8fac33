// Which tokens are masked: whole words for masked language modelling, as pure functions of a key.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/rng.h"
#include "data/text/tokenizer.h"

namespace lodestone {

/// What masking needs to know of a vocabulary; made once.
class WordTable {
 public:
  explicit WordTable(const Tokenizer& tokenizer);
  /// continues[id] is 1 for a token that continues a word ("##ing"); `special` tokens belong to no word.
  WordTable(std::vector<uint8_t> continues, std::span<const int32_t> special, int32_t cls, int32_t sep, int32_t mask);

  int64_t vocab() const { return static_cast<int64_t>(kinds_.size()); }
  bool continues(int32_t id) const { return kinds_[static_cast<size_t>(id)] == Kind::continues; }
  /// [CLS], [SEP], [PAD] and [MASK]: never masked. The unknown token is a word like any other.
  bool special(int32_t id) const { return kinds_[static_cast<size_t>(id)] == Kind::special; }
  int32_t cls() const { return cls_; }
  int32_t sep() const { return sep_; }
  int32_t mask() const { return mask_; }

 private:
  enum class Kind : uint8_t { begins, continues, special };
  std::vector<Kind> kinds_;  // [V]
  int32_t cls_, sep_, mask_;
};

/// Tokens [begin, end) of a text.
struct Word {
  int32_t begin = 0, end = 0;
  friend bool operator==(const Word&, const Word&) = default;
};

/// The words of a text in order: each token that is not special, with the tokens behind it that continue it. Replaces `words`.
void find_words(const WordTable& table, std::span<const int32_t> ids, std::vector<Word>& words);

/// How many tokens a mask has at most: min(512, max(1, length * probability rounded to nearest, halves to even)), with the special
/// tokens counted in `length`.
int64_t tokens_to_mask(int64_t length, double probability);

/// A set of positions, one bit each.
inline bool has_bit(std::span<const uint64_t> bits, int64_t position) {
  return (bits[static_cast<size_t>(position / 64)] >> (position % 64) & 1) != 0;
}

/// Sets in `bits` [ceil(length / 64) words, cleared first] the tokens of words taken in an order shuffled by `key`, until
/// tokens_to_mask(length, probability) are reached; a word that would overshoot is left out. `shuffled` is memory to reuse.
void mask_words(std::span<const Word> words, int64_t length, double probability, Key key, std::vector<Word>& shuffled,
                std::span<uint64_t> bits);

/// Hides the tokens of a mask: of 10, in the mean, 8 become [MASK], one a token drawn from the whole vocabulary, and one stays.
/// labels[t] is the token itself where the mask has a bit and no_label (core/batch.h) elsewhere.   ids, masked, labels [T].
void hide_tokens(const WordTable& table, std::span<const uint64_t> bits, std::span<const int32_t> ids, Key key, std::span<int32_t> masked,
                 std::span<int32_t> labels);

/// Appends to `bits` the distinct ones among min(length, 128) masks of the given probability, ceil(length / 64) words each, and to
/// `of_row` for every position the number of one of them, each equally likely. See KeyMasks (core/batch.h).
void draw_key_masks(std::span<const Word> words, int64_t length, double probability, Key key, std::vector<Word>& shuffled,
                    std::vector<uint64_t>& bits, std::vector<uint8_t>& of_row);

}  // namespace lodestone
