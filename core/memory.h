// Memory: where bytes lie. Every backend has one, and Buffer, Arena, ParamStore and AdamW take theirs from it.
#pragma once

#include <cstddef>

#include "core/dtype.h"

namespace lodestone {

class Arena;

/// The memory of one device. It must outlive what was taken from it. Not thread-safe, unless an implementation says so.
class Memory {
 public:
  virtual ~Memory() = default;
  /// What tensors of this memory carry.
  virtual Device device() const = 0;
  /// size_bytes > 0 zeroed bytes, 4 KiB aligned. Throws Error (resource, "F14") when the device has no more.
  virtual std::byte* allocate(size_t size_bytes) = 0;
  /// size_bytes > 0 of addresses, 4 KiB aligned, behind which memory comes as it is first written; its content is not defined. Throws
  /// Error (resource, "F14") when the device refuses so many.
  virtual std::byte* reserve(size_t size_bytes) = 0;
  /// How many of so many bytes reserve() could give now: all, where memory comes as it is written.
  virtual size_t reservable(size_t wanted_bytes) const { return wanted_bytes; }
  /// Gives back what allocate() or reserve() gave, with the same size.
  virtual void release(std::byte* data, size_t size_bytes) noexcept = 0;
  /// `arena`, of this memory, ends its innermost open scope, number arena.depth() counted from 1: what was uploaded in it may change from
  /// here on, and the arena gives out the `size_bytes` from `released` on anew.
  virtual void end_scope(const Arena& arena, std::byte* released, size_t size_bytes) noexcept;
};

inline void Memory::end_scope(const Arena& /*arena*/, std::byte* /*released*/, size_t /*size_bytes*/) noexcept {}

/// The host's own: anonymous pages, huge ones asked for from 2 MiB on. Thread-safe.
class HostMemory final : public Memory {
 public:
  Device device() const override { return Device::cpu; }
  std::byte* allocate(size_t size_bytes) override;
  std::byte* reserve(size_t size_bytes) override;
  void release(std::byte* data, size_t size_bytes) noexcept override;
};

}  // namespace lodestone
