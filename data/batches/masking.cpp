// How words are found, shuffled and hidden.
#include "data/batches/masking.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/batch.h"
#include "core/error.h"
#include "data/files/below.h"

namespace lodestone {

namespace {

constexpr int64_t most_masked = 512, most_key_masks = 128;

/// The numbers of a key, one after the other (splitmix64): many small draws for one name.
class Draws {
 public:
  explicit Draws(Key key) : state_(key.value()) {}
  /// Uniform in [0, n).
  int64_t below(int64_t n) {
    state_ += 0x9E3779B97F4A7C15ull;
    return static_cast<int64_t>(lodestone::below(mix64(state_), static_cast<uint64_t>(n)));
  }

 private:
  uint64_t state_;
};

std::vector<uint8_t> continuing(const Tokenizer& tokenizer) {
  std::vector<uint8_t> result(static_cast<size_t>(tokenizer.vocab_size()));
  for (size_t id = 0; id < result.size(); ++id) result[id] = tokenizer.continues_word(static_cast<int32_t>(id)) ? 1 : 0;
  return result;
}

void set_bit(std::span<uint64_t> bits, int64_t position) { bits[static_cast<size_t>(position / 64)] |= uint64_t{1} << (position % 64); }

}  // namespace

WordTable::WordTable(const Tokenizer& tokenizer)
    : WordTable(continuing(tokenizer), std::array{tokenizer.cls_id(), tokenizer.sep_id(), tokenizer.pad_id(), tokenizer.mask_id()},
                tokenizer.cls_id(), tokenizer.sep_id(), tokenizer.mask_id()) {}

WordTable::WordTable(std::vector<uint8_t> continues, std::span<const int32_t> special, int32_t cls, int32_t sep, int32_t mask)
    : kinds_(continues.size()), cls_(cls), sep_(sep), mask_(mask) {
  for (size_t id = 0; id < kinds_.size(); ++id) kinds_[id] = continues[id] != 0 ? Kind::continues : Kind::begins;
  for (const int32_t id : special) kinds_.at(static_cast<size_t>(id)) = Kind::special;
}

void find_words(const WordTable& table, std::span<const int32_t> ids, std::vector<Word>& words) {
  words.clear();
  for (int32_t t = 0; t < std::ssize(ids); ++t) {
    const int32_t id = ids[static_cast<size_t>(t)];
    if (table.special(id)) continue;
    if (table.continues(id) && !words.empty() && words.back().end == t)
      ++words.back().end;
    else
      words.push_back({t, t + 1});
  }
}

int64_t tokens_to_mask(int64_t length, double probability) {
  return std::min(most_masked, std::max(int64_t{1}, static_cast<int64_t>(std::nearbyint(static_cast<double>(length) * probability))));
}

void mask_words(std::span<const Word> words, int64_t length, double probability, Key key, std::vector<Word>& shuffled,
                std::span<uint64_t> bits) {
  std::fill(bits.begin(), bits.end(), uint64_t{0});
  shuffled.assign(words.begin(), words.end());
  Draws draws(key);
  int64_t left = tokens_to_mask(length, probability);
  for (size_t i = 0; i < shuffled.size() && left > 0; ++i) {
    std::swap(shuffled[i], shuffled[i + static_cast<size_t>(draws.below(std::ssize(shuffled) - static_cast<int64_t>(i)))]);
    const Word word = shuffled[i];
    if (word.end - word.begin > left) continue;
    for (int32_t t = word.begin; t < word.end; ++t) set_bit(bits, t);
    left -= word.end - word.begin;
  }
}

void hide_tokens(const WordTable& table, std::span<const uint64_t> bits, std::span<const int32_t> ids, Key key, std::span<int32_t> masked,
                 std::span<int32_t> labels) {
  Draws draws(key);
  for (size_t t = 0; t < ids.size(); ++t) {
    const bool hidden = has_bit(bits, static_cast<int64_t>(t));
    labels[t] = hidden ? ids[t] : no_label;
    masked[t] = ids[t];
    if (!hidden) continue;
    const int64_t choice = draws.below(10);
    if (choice < 8)
      masked[t] = table.mask();
    else if (choice == 8)
      masked[t] = static_cast<int32_t>(draws.below(table.vocab()));
  }
}

void draw_key_masks(std::span<const Word> words, int64_t length, double probability, Key key, std::vector<Word>& shuffled,
                    std::vector<uint64_t>& bits, std::vector<uint8_t>& of_row) {
  const auto size = static_cast<std::ptrdiff_t>(KeyMasks::words(length));
  const auto first = std::ssize(bits);
  int64_t count = 0;
  for (int64_t drawn = 0; drawn < std::min(length, most_key_masks); ++drawn) {
    bits.resize(static_cast<size_t>(first + (count + 1) * size));
    const auto fresh = bits.end() - size;
    mask_words(words, length, probability, key.with("mask").with(static_cast<uint64_t>(drawn)), shuffled, {fresh, bits.end()});
    bool seen = false;
    for (auto earlier = bits.begin() + first; earlier != fresh && !seen; earlier += size) seen = std::equal(earlier, earlier + size, fresh);
    if (!seen) ++count;
  }
  bits.resize(static_cast<size_t>(first + count * size));
  Draws draws(key.with("row"));
  for (int64_t t = 0; t < length; ++t) of_row.push_back(static_cast<uint8_t>(draws.below(count)));
}

}  // namespace lodestone
