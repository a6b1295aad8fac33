// Texts and masks on their way to a device: what must hold of them, and the copies.
#include "core/device_texts.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "core/backend.h"
#include "core/hash_words.h"

namespace lodestone {

namespace {

template <class T>
ConstTensor upload_span(Backend& backend, Arena& arena, std::span<const T> values) {
  return backend.upload(view(values), arena);
}

ConstTensor upload_words(Backend& backend, Arena& arena, std::span<const uint64_t> words) {
  return backend.upload(hash_words(words), arena);
}

/// Tokens of the shortest and of the longest text.
std::pair<int64_t, int64_t> check_lengths(const TokenBatch& tokens) {
  LODE_CHECK(!tokens.offsets.empty() && tokens.offsets.front() == 0 && tokens.offsets.back() == tokens.tokens(),
             "offsets of the texts do not cover the ", tokens.tokens(), " tokens");
  LODE_CHECK(tokens.keys.empty() || std::ssize(tokens.keys) == tokens.texts(), tokens.keys.size(), " text keys for ", tokens.texts(),
             " texts");
  LODE_CHECK(tokens.second.empty() || std::ssize(tokens.second) == tokens.texts(), tokens.second.size(), " beginnings of type 1 for ",
             tokens.texts(), " texts");
  int64_t shortest = tokens.texts() == 0 ? 0 : tokens.length(0), longest = 0;
  for (int64_t b = 0; b < tokens.texts(); ++b) {
    const int64_t length = tokens.length(b);
    LODE_CHECK(length >= 0 && length <= 65536, "text ", b, " has ", length, " tokens");
    LODE_CHECK(tokens.first_length(b) >= 0 && tokens.first_length(b) <= length, "type 1 begins at ", tokens.first_length(b), " in text ", b,
               " of ", length, " tokens");
    shortest = std::min(shortest, length);
    longest = std::max(longest, length);
  }
  return {shortest, longest};
}

/// Text and place of every token, in the arena of the host.
void add_token_places(Backend& backend, Arena& arena, const TokenBatch& tokens, DeviceTexts& texts) {
  const std::span<int32_t> text_of = arena.array<int32_t>(tokens.tokens()), place = arena.array<int32_t>(tokens.tokens());
  size_t s = 0;
  for (int64_t b = 0; b < tokens.texts(); ++b)
    for (int64_t t = 0; t < tokens.length(b); ++t, ++s) {
      text_of[s] = static_cast<int32_t>(b);
      place[s] = static_cast<int32_t>(t);
    }
  texts.text_of = upload_span<int32_t>(backend, arena, text_of);
  texts.place = upload_span<int32_t>(backend, arena, place);
}

std::span<const uint64_t> words_of(ConstTensor words) { return words.empty() ? std::span<const uint64_t>() : hashes_in(words); }
template <class T>
std::span<const T> elements_of(ConstTensor x) {
  return x.empty() ? std::span<const T>() : x.host<T>();
}

}  // namespace

DeviceTexts upload_texts(Backend& backend, Arena& arena, const TokenBatch& tokens) {
  DeviceTexts texts;
  std::tie(texts.shortest, texts.longest) = check_lengths(tokens);
  int32_t least = 0, most = -1;
  for (const int32_t id : tokens.ids) {
    least = std::min(least, id);
    most = std::max(most, id);
  }
  LODE_CHECK(least >= 0, "a token has the id ", least);
  texts.ids_end = int64_t{most} + 1;
  texts.ids = upload_span(backend, arena, tokens.ids);
  texts.offsets = upload_span(backend, arena, tokens.offsets);
  texts.keys = upload_words(backend, arena, tokens.keys);
  texts.second = upload_span(backend, arena, tokens.second);
  if (backend.wants_token_places()) add_token_places(backend, arena, tokens, texts);
  return texts;
}

DeviceMasks upload_masks(Backend& backend, Arena& arena, const TokenBatch& tokens, const KeyMasks& masks) {
  LODE_CHECK(std::ssize(masks.first) == tokens.texts() && std::ssize(masks.of_row) == tokens.tokens(), "masks of ", masks.first.size(),
             " texts and ", masks.of_row.size(), " rows for ", tokens.texts(), " texts of ", tokens.tokens(), " tokens");
  for (int64_t b = 0; b < tokens.texts(); ++b) {
    const int64_t length = tokens.length(b), first = masks.first[static_cast<size_t>(b)];
    const int64_t words = masks.words_of_text(tokens.offsets[static_cast<size_t>(b)], length);
    LODE_CHECK(first >= 0 && first + words <= std::ssize(masks.bits), "the masks of text ", b, " lie outside their ", masks.bits.size(),
               " words");
  }
  return {upload_words(backend, arena, masks.bits), upload_span(backend, arena, masks.first), upload_span(backend, arena, masks.of_row)};
}

TokenBatch on_host(const DeviceTexts& texts) {
  return {elements_of<int32_t>(texts.ids), elements_of<int64_t>(texts.offsets), words_of(texts.keys), elements_of<int64_t>(texts.second)};
}

KeyMasks on_host(const DeviceMasks& masks) {
  return {words_of(masks.bits), elements_of<int64_t>(masks.first), elements_of<uint8_t>(masks.of_row)};
}

}  // namespace lodestone
