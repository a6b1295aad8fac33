#include "core/step_texts.h"

#include <algorithm>
#include <bit>

#include "core/round_up.h"

namespace lodestone {

namespace {

/// A multiple of a sixteenth to an eighth of n, and of `least`, which is a power of two.
int64_t round_up_to_few(int64_t n, int64_t least) {
  const auto eighth = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(n))) / 8;
  return round_up(n, std::max(least, eighth));
}

/// The next of 8, 12, 16, 24, 32, 48 ...: cuDNN's workspace grows with them, empty ones too.
int64_t round_up_texts(int64_t n) {
  const auto two = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(n, 8))));
  return n <= two / 4 * 3 && two > 8 ? two / 4 * 3 : two;
}

/// A copy of `from` in the arena of the host, with room for `count` elements, of which those behind are `rest`.
template <class T>
std::span<T> copied(Arena& arena, std::span<const T> from, int64_t count, T rest) {
  const std::span<T> to = arena.array<T>(count);
  std::fill(std::copy(from.begin(), from.end(), to.begin()), to.end(), rest);
  return to;
}

}  // namespace

TokenBatch in_step(const Exec& ex, const TokenBatch& tokens) {
  if (ex.step.value() == 0 || tokens.keys.empty()) return tokens;
  const std::span<uint64_t> names = ex.arena.array<uint64_t>(tokens.texts());
  std::transform(tokens.keys.begin(), tokens.keys.end(), names.begin(), [&](uint64_t text) { return ex.step.with(text).value(); });
  return {tokens.ids, tokens.offsets, names, tokens.second};
}

DeviceTexts upload_filled_texts(const Exec& ex, const TokenBatch& tokens, const FillLimits& limits) {
  const int64_t texts = tokens.texts(), count = tokens.tokens(), bucket = ex.backend.row_bucket();
  if (texts == 0 || count == 0) return upload_texts(ex.backend, ex.arena, tokens);
  int64_t longest = 0;
  for (int64_t b = 0; b < texts; ++b) longest = std::max(longest, tokens.length(b));
  const int64_t all_longest = std::max(longest, std::min(round_up(longest, 64), limits.longest));
  const int64_t all = std::max(round_up(count, bucket), std::min(round_up_to_few(count, bucket), round_up(limits.tokens, bucket)));
  const int64_t fillers = (all - count + all_longest - 1) / all_longest;
  const int64_t all_texts = round_up_texts(texts + fillers);

  const std::span<int32_t> ids = copied(ex.arena, tokens.ids, all, int32_t{0});
  for (int64_t s = count; s < all; ++s) ids[static_cast<size_t>(s)] = ids[static_cast<size_t>(s - count)];
  const std::span<int64_t> offsets = copied(ex.arena, tokens.offsets, all_texts + 1, all);
  for (int64_t b = texts + 1; b <= texts + fillers; ++b)
    offsets[static_cast<size_t>(b)] = std::min(all, offsets[static_cast<size_t>(b - 1)] + all_longest);
  TokenBatch filled{ids, offsets, {}, {}};
  if (!tokens.keys.empty()) filled.keys = copied(ex.arena, tokens.keys, all_texts, uint64_t{0});
  if (!tokens.second.empty()) {
    const std::span<int64_t> second = copied(ex.arena, tokens.second, all_texts, int64_t{0});
    for (int64_t b = texts; b < all_texts; ++b) second[static_cast<size_t>(b)] = filled.length(b);
    filled.second = second;
  }

  DeviceTexts uploaded = upload_texts(ex.backend, ex.arena, filled);
  uploaded.given = texts;
  uploaded.longest = all_longest;
  uploaded.shortest = tokens.length(0);
  for (int64_t b = 0; b < texts; ++b) uploaded.shortest = std::min(uploaded.shortest, tokens.length(b));
  return uploaded;
}

DeviceTexts copied_texts(const Exec& ex, const DeviceTexts& texts) {
  DeviceTexts copies = texts;
  for (ConstTensor* x : {&copies.ids, &copies.offsets, &copies.keys, &copies.second, &copies.text_of, &copies.place}) {
    if (x->empty()) continue;
    const Tensor copy = ex.arena.tensor(x->dtype(), x->shape());
    ex.backend.copy(*x, copy);
    *x = copy;
  }
  return copies;
}

DeviceTexts upload_step_texts(const Exec& ex, const TokenBatch& tokens, const FillLimits& limits) {
  const TokenBatch named = in_step(ex, tokens);
  return ex.backend.replays() ? upload_filled_texts(ex, named, limits) : upload_texts(ex.backend, ex.arena, named);
}

}  // namespace lodestone
