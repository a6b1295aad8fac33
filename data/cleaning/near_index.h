// NearIndex: is there a row among those kept that is nearly the same?
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "core/buffer.h"
#include "data/cleaning/minhash.h"
#include "data/cleaning/shingle_file.h"

namespace lodestone {

/// Sets of shingles that were kept, found again by the bands of their MinHash signature. No set counts as near by its signature: candidates
/// are compared by all their shingles.
class NearIndex {
 public:
  /// Of a bucket (the sets of one value of one band) so many are kept as candidates, the first ones; and so many candidates of a set are
  /// compared, those first that share the most bands with it. Without these bounds sets that share a template, but are not near, would
  /// be compared each with each.
  static constexpr int most_in_bucket = 64, most_compared = 64;

  /// Sets are near from a Jaccard index of `threshold` on, 0.3 to 1. Shingles of kept sets lie in a nameless file in `folder`.
  NearIndex(double threshold, const std::filesystem::path& folder);

  struct Near {
    int64_t set = 0;  // its number, from 0
    double jaccard = 0;
  };
  /// `shingles`: sorted, each once. The first kept set, in the order of comparing, that is near; otherwise nothing, and the set is kept.
  /// Two sets at the threshold are found with the probability catch_probability(bands(), threshold). Sets without shingles are near to
  /// none.
  std::optional<Near> find_or_keep(std::span<const uint64_t> shingles);

  Bands bands() const { return bands_; }
  int64_t kept() const { return shingles_.sets(); }
  /// What it holds in memory: 10.7 to 21.4 bytes a kept set and band, and 8 to 16 a kept set.
  int64_t bytes() const { return bytes_ + shingles_.bytes(); }
  /// How often a set was not put into a bucket that was full.
  int64_t full_buckets() const { return full_buckets_; }

 private:
  /// Entries are the upper half of a band's hash and the number of a set and 1; 0 is none. Places follow the hash, the next free one is
  /// taken.
  struct Table {
    Buffer memory;
    int bits = 0;  // 2^bits places
    int64_t used = 0;
    std::span<uint64_t> places() const { return {reinterpret_cast<uint64_t*>(memory.data()), memory.size_bytes() / sizeof(uint64_t)}; }
  };
  void grow(Table& table);
  /// Appends the sets of the bucket to found_.
  void look_up(const Table& table, uint32_t tag);
  void insert(Table& table, uint32_t tag, uint32_t set);
  std::optional<Near> nearest_of_found(std::span<const uint64_t> shingles);

  double threshold_;
  Bands bands_;
  HostMemory memory_;
  std::vector<Table> tables_;  // one a band; behind the memory that they lie in
  ShingleFile shingles_;
  Signature signature_{};
  std::vector<uint32_t> tags_, found_;
  std::vector<uint64_t> other_;
  int64_t bytes_ = 0, full_buckets_ = 0;
};

/// |a and b| / |a or b| of two sorted sets, of which one is not empty.
double jaccard_index(std::span<const uint64_t> a, std::span<const uint64_t> b);

}  // namespace lodestone
