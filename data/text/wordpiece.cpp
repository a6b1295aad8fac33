// Longest-match-first over two tries, and the memory of recent words.
#include "data/text/wordpiece.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace lodestone {
namespace {

enum class Part { first, continuing };

Trie make_trie(std::span<const std::string> tokens, std::string_view prefix, Part part) {
  std::vector<std::pair<std::string_view, int32_t>> keys;
  for (size_t id = 0; id < tokens.size(); ++id) {
    std::string_view token = tokens[id];
    if (part == Part::continuing) {
      if (!token.starts_with(prefix)) continue;
      token.remove_prefix(prefix.size());
    }
    if (!token.empty()) keys.emplace_back(token, static_cast<int32_t>(id));
  }
  return Trie(std::move(keys));
}

}  // namespace

WordPiece::WordPiece(std::span<const std::string> tokens, std::string_view prefix, int32_t unknown)
    : first_(make_trie(tokens, prefix, Part::first)), continuing_(make_trie(tokens, prefix, Part::continuing)), unknown_(unknown) {}

int64_t WordPiece::append(std::string_view word, std::vector<int32_t>& ids) const {
  const size_t before = ids.size();
  int64_t steps = 0;
  const Trie* trie = &first_;
  while (!word.empty()) {
    const Trie::Match match = trie->longest(word);
    steps += match.steps;
    if (match.length == 0) {
      ids.resize(before);
      ids.push_back(unknown_);
      break;
    }
    ids.push_back(match.value);
    word.remove_prefix(static_cast<size_t>(match.length));
    trie = &continuing_;
  }
  return steps;
}

WordCache::WordCache() : entries_(size_t{1} << index_bits) {}

void WordCache::clear() { std::fill(entries_.begin(), entries_.end(), Entry{}); }

WordCache::Entry& WordCache::place(const char* word, size_t length) {
  uint64_t low, high;
  std::memcpy(&low, word, 8);
  std::memcpy(&high, word + 8, 8);
  if (length < 8) {
    low &= (uint64_t{1} << 8 * length) - 1;
    high = 0;
  } else {
    high &= (uint64_t{1} << 8 * (length - 8)) - 1;
  }
  high |= uint64_t{length} << 56;
  const uint64_t mixed = (low ^ (high * 0x9E3779B97F4A7C15u)) * 0xD6E8FEB86659FD93u;
  Entry& entry = entries_[mixed >> (64 - index_bits)];
  if (entry.low != low || entry.high != high) entry = {.low = low, .high = high, .ids = {}, .count = 0};
  return entry;
}

}  // namespace lodestone
