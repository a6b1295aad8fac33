// Into which tokens is one normalised word cut? The longest token at each place, from left to right.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/text/trie.h"

namespace lodestone {

class WordPiece {
 public:
  /// tokens by id; those that begin with `prefix` go on with a word that others have begun.
  WordPiece(std::span<const std::string> tokens, std::string_view prefix, int32_t unknown);

  /// Appends the ids of a word, which is not empty: its tokens, or the unknown token if the vocabulary cannot spell it.
  /// Returns the number of bytes looked at, at most word.size() times the longest token.
  int64_t append(std::string_view word, std::vector<int32_t>& ids) const;
  int32_t unknown() const { return unknown_; }

 private:
  Trie first_, continuing_;
  int32_t unknown_;
};

/// A direct-mapped memory of words of up to 15 bytes that became one to three tokens.
class WordCache {
 public:
  static constexpr size_t longest_word = 15, most_ids = 3;
  struct Entry {
    uint64_t low = 0, high = 0;  // the word, and its length in the last byte; an empty place has length 0
    std::array<int32_t, most_ids> ids{};
    uint32_t count = 0;  // 0: the word is not known, or has more tokens than fit
  };

  WordCache();
  void clear();
  /// The place of a word of `length` <= longest_word bytes; 16 bytes can be read at `word`. If another word was there, it is
  /// forgotten, and count is 0.
  Entry& place(const char* word, size_t length);

 private:
  static constexpr int index_bits = 14;  // 2^14 entries, 512 KiB: a second-level cache
  std::vector<Entry> entries_;
};

}  // namespace lodestone
