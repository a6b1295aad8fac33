#include "data/cleaning/hash_set.h"

#include <algorithm>

#include "data/files/below.h"

namespace lodestone {

namespace {

constexpr uint64_t empty = 0;
constexpr size_t first_places = 512;

/// The place of `hash`, or the empty one where it belongs. `slots` are never full. The shard's own bits are out of the way.
uint64_t& place_of(std::span<uint64_t> slots, uint64_t hash, int shard_bits) {
  size_t at = below(hash << shard_bits, slots.size());
  while (slots[at] != empty && slots[at] != hash) at = at + 1 == slots.size() ? 0 : at + 1;
  return slots[at];
}

}  // namespace

bool HashSet::insert(uint64_t hash) {
  if (hash == empty) hash = 1;
  Shard& shard = shards_[hash >> (64 - shard_bits)];
  if (shard.used * 8 >= shard.places * 7) grow(shard);
  uint64_t& place = place_of(shard.slots(), hash, shard_bits);
  if (place == hash) return false;
  place = hash;
  ++shard.used;
  ++size_;
  return true;
}

void HashSet::grow(Shard& shard) {
  const size_t places = std::max(first_places, shard.places / 3 * 5);
  const auto more = static_cast<int64_t>(places * sizeof(uint64_t)), less = static_cast<int64_t>(shard.places * sizeof(uint64_t));
  peak_bytes_ = std::max(peak_bytes_, bytes_ + more);
  Shard larger{Buffer(memory_, places * sizeof(uint64_t)), places, shard.used};
  for (const uint64_t hash : shard.slots())
    if (hash != empty) place_of(larger.slots(), hash, shard_bits) = hash;
  shard = std::move(larger);
  bytes_ += more - less;
}

}  // namespace lodestone
