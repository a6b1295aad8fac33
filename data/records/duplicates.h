// Duplicates: how often the same thing came, exactly for few things and from a sample for many, in bounded memory.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace lodestone {

/// Counts hashes. Keeps those whose lowest `bits` bits are zero and raises `bits` when more than a million are kept: which are
/// kept depends on the hashes only, so counters of several ranks can be merged, in any order.
class DuplicateCounter {
 public:
  void add(uint64_t hash, int64_t times = 1) {
    if ((hash & mask()) != 0) return;
    counts_[hash] += times;
    while (counts_.size() > max_kept) sample(bits_ + 1);
  }
  void merge(const DuplicateCounter& other) {
    sample(other.bits_);
    for (const auto& [hash, times] : other.counts_) add(hash, times);
  }
  /// Additions of something that was there already. An estimate unless exact().
  int64_t duplicates() const {
    int64_t extra = 0;
    for (const auto& [hash, times] : counts_) extra += times - 1;
    return extra << bits_;
  }
  bool exact() const { return bits_ == 0; }

  /// As numbers, to be sent to other ranks: the number of entries, the bits, then hash and count of each.
  std::vector<int64_t> state() const {
    std::vector<int64_t> values{static_cast<int64_t>(counts_.size()), bits_};
    for (const auto& [hash, times] : counts_) {
      values.push_back(static_cast<int64_t>(hash));
      values.push_back(times);
    }
    return values;
  }
  /// Merges states that stand one behind the other.
  void merge_states(std::span<const int64_t> states) {
    while (!states.empty()) {
      const size_t entries = static_cast<size_t>(states[0]);
      sample(static_cast<int>(states[1]));
      for (size_t i = 0; i < entries; ++i) add(static_cast<uint64_t>(states[2 + 2 * i]), states[3 + 2 * i]);
      states = states.subspan(2 + 2 * entries);
    }
  }

 private:
  static constexpr size_t max_kept = size_t{1} << 20;
  uint64_t mask() const { return (uint64_t{1} << bits_) - 1; }
  void sample(int bits) {
    if (bits <= bits_) return;
    bits_ = bits;
    std::erase_if(counts_, [this](const auto& entry) { return (entry.first & mask()) != 0; });
  }
  int bits_ = 0;
  std::unordered_map<uint64_t, int64_t> counts_;
};

}  // namespace lodestone
