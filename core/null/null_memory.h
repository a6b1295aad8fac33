// NullMemory: addresses without memory behind them, and a count of what was asked for.
#pragma once

#include <set>

#include "core/memory.h"

namespace lodestone {

/// Touching an address ends the process. Not thread-safe.
class NullMemory final : public Memory {
 public:
  Device device() const override { return Device::null; }
  /// 4 KiB aligned, different from all others that are out. Throws Error (resource, "F14") when the system has no so many addresses.
  std::byte* allocate(size_t size_bytes) override;
  std::byte* reserve(size_t size_bytes) override;
  void release(std::byte* data, size_t size_bytes) noexcept override;

  /// Bytes that allocate() gave and nobody gave back; what was reserved is not counted.
  size_t allocated_bytes() const { return allocated_bytes_; }

 private:
  std::set<const std::byte*> allocations_;  // that are out
  size_t allocated_bytes_ = 0;
};

}  // namespace lodestone
