// HashSet: which 64-bit hashes came before, in at most 16 bytes each.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "core/buffer.h"

namespace lodestone {

/// Open addressing in shards, chosen by the highest bits of a hash. A shard holds up to 7/8 of its places and then grows by two thirds,
/// alone: 9.2 to 15.3 bytes a hash, and while a shard grows its old places once more. Two different texts of n have the same hash with a
/// probability of n^2 / 2^65 at most: 0.00015 for 75 million.
class HashSet {
 public:
  /// Whether the hash is new; it is in the set from now on. Throws Error (resource, F14) without memory.
  bool insert(uint64_t hash);
  int64_t size() const { return size_; }
  /// All places, and the most that there ever were, the old ones of a growing shard included.
  int64_t bytes() const { return bytes_; }
  int64_t peak_bytes() const { return peak_bytes_; }

 private:
  struct Shard {
    Buffer memory;
    size_t places = 0, used = 0;
    std::span<uint64_t> slots() const { return {reinterpret_cast<uint64_t*>(memory.data()), places}; }
  };
  void grow(Shard& shard);

  static constexpr int shard_bits = 6;
  HostMemory memory_;
  std::array<Shard, size_t{1} << shard_bits> shards_;  // behind the memory that they lie in
  int64_t size_ = 0, bytes_ = 0, peak_bytes_ = 0;
};

}  // namespace lodestone
