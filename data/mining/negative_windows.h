// NegativeWindows: which of a row's ranked negatives are in use now.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

namespace lodestone {

/// What mining tells collating. A row has a list of negatives, hardest first; n of them are in use. Reading and changing it at
/// the same time is the caller's to prevent: the loader is stopped while windows change.
class NegativeWindows {
 public:
  virtual ~NegativeWindows() = default;
  /// Place in the row's list of the first negative in use, before a short list is taken into account: see negative_place().
  virtual int64_t first(int64_t row) const = 0;
  /// Places of the n negatives in use where they do not lie side by side; otherwise empty. Valid until the next change.
  virtual std::span<const int32_t> chosen(int64_t row) const {
    (void)row;
    return {};
  }
};

/// Place in a list of `available` negatives (at least 1) of the k-th of the n in use, 0 <= k < n. The window is moved up where
/// the list ends before it does; a list shorter than n is repeated.
inline int64_t negative_place(const NegativeWindows& windows, int64_t row, int64_t k, int64_t n, int64_t available) {
  const std::span<const int32_t> chosen = windows.chosen(row);
  if (!chosen.empty()) return chosen[static_cast<size_t>(k)] % available;
  return (std::min(windows.first(row), std::max(available - n, int64_t{0})) + k) % available;
}

}  // namespace lodestone
