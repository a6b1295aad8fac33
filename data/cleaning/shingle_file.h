// ShingleFile: sets of 64-bit numbers that are too many for memory, in a file without a name.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "data/files/durable.h"

namespace lodestone {

/// Appended one after another, read in any order. The file is gone with its descriptor, however the process ends.
class ShingleFile {
 public:
  /// Throws Error (storage, "F19", "F21") when no file can be made in `folder`.
  explicit ShingleFile(const std::filesystem::path& folder);
  /// Throws Error (storage, "F19").
  void append(std::span<const uint64_t> set);
  int64_t sets() const { return std::ssize(ends_); }
  /// Numbers of a set.
  int64_t size(int64_t set) const { return ends_[static_cast<size_t>(set)] - begin_of(set); }
  /// Replaces `out` by the numbers of a set. Throws Error (storage, "F37").
  void read(int64_t set, std::vector<uint64_t>& out) const;
  /// What it holds in memory: 8 bytes a set, or up to 16 while there is room for more, and the numbers that are not written yet.
  int64_t bytes() const { return static_cast<int64_t>((ends_.capacity() + pending_.capacity()) * sizeof(uint64_t)); }

 private:
  int64_t begin_of(int64_t set) const { return set == 0 ? 0 : ends_[static_cast<size_t>(set - 1)]; }

  std::filesystem::path folder_;
  Descriptor descriptor_;
  std::vector<int64_t> ends_;      // of sets, in numbers
  std::vector<uint64_t> pending_;  // the last numbers, which are not in the file yet
  int64_t written_ = 0;            // numbers in the file
};

}  // namespace lodestone
