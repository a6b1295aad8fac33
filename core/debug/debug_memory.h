// DebugMemory: a device's memory on the host, behind addresses that nobody may touch.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include "core/memory.h"

namespace lodestone {

/// One file without a name, mapped twice: at guarded addresses, which tensors carry and any access to which is a fault, and at writable
/// ones, a constant distance away, through which a debug backend works. Nothing is protected or unprotected later. Pages come as they are
/// written; a core dump leaves them out. A forked process shares them, so what is made before the fork is for one of the two.
/// allocate() and reserve() are thread-safe, and so are release() and what does not change anything.
class DebugMemory final : public Memory {
 public:
  static constexpr size_t default_size_bytes = size_t{512} << 30;
  static constexpr size_t most_allocations = 1024;

  /// Offsets from the begin of the memory.
  struct Range {
    size_t begin = 0, size_bytes = 0;
  };

  /// Who works on this memory, later than it is told to.
  class Observer {
   public:
    virtual ~Observer() = default;
    /// As Memory::end_scope.
    virtual void scope_ended(const Arena& arena, Range released) noexcept = 0;
    /// How many operations it has been told to do. Called from any thread.
    virtual int64_t enqueued() const noexcept = 0;
  };

  /// Twice size_bytes of addresses. Throws Error (resource, "F14") when the system refuses them.
  explicit DebugMemory(size_t size_bytes = default_size_bytes);
  ~DebugMemory() override;
  DebugMemory(const DebugMemory&) = delete;
  DebugMemory& operator=(const DebugMemory&) = delete;

  Device device() const override { return Device::debug; }
  /// These throw also when most_allocations are out.
  std::byte* allocate(size_t size_bytes) override { return take(size_bytes, Content::zeros); }
  std::byte* reserve(size_t size_bytes) override { return take(size_bytes, Content::undefined); }
  /// No operand may lie there from here on; with an observer, the memory is given out again after reclaim().
  void release(std::byte* data, size_t size_bytes) noexcept override;
  void end_scope(const Arena& arena, std::byte* released, size_t size_bytes) noexcept override;

  /// The observer must outlive this, or be taken away with nullptr.
  void observe(Observer* observer) { observer_ = observer; }
  /// The observer has done so many operations: what was released before it was told of the next one can be given out again.
  void reclaim(int64_t done) noexcept;

  /// The range, which lies in one allocation, is used. Returns what is used for the first time up to its end; of size 0 where that is
  /// nothing, and always where the memory was given out as zeros.
  Range first_use(Range range) noexcept;
  /// The part of the range, which lies in one allocation, that has been used.
  Range used_part(Range range) noexcept;

  /// Where the bytes behind a guarded address can be read and written.
  std::byte* open(const std::byte* guarded) const { return writable_ + offset_of(guarded); }
  /// The same of an offset.
  std::byte* at(size_t offset) const { return writable_ + offset; }
  /// Whether all these bytes lie in one allocation that is out.
  bool contains(const std::byte* guarded, size_t size_bytes) const noexcept;

  // For signal handlers as well:
  /// Whether an access to this address is a fault of ours.
  bool guards(const void* address) const noexcept { return address >= guarded_ && address < guarded_ + size_bytes_; }
  size_t offset_of(const std::byte* guarded) const noexcept { return static_cast<size_t>(guarded - guarded_); }
  /// The allocation that has the byte at this offset; of size 0 when none has.
  Range allocation_at(size_t offset) const noexcept;

 private:
  /// An allocation that is out, or of size 0. A handler may look while it changes.
  struct Taken {
    std::atomic<size_t> begin{0}, size_bytes{0};
    size_t used_end = 0;  // offset behind which nothing was used; of allocate() the end
  };
  enum class Content : uint8_t { zeros, undefined };
  /// Released, but operations enqueued before may still use it.
  struct Released {
    Range range;
    int64_t enqueued = 0;
  };

  std::byte* take(size_t size_bytes, Content content);
  /// The entry of the allocation that has the byte at this offset; null when none has.
  Taken* taken_at(size_t offset) noexcept;
  /// Gives the pages of a range back to the system and the range to the next that asks.
  void give_back(Range range) noexcept;

  const size_t size_bytes_;
  std::byte* guarded_ = nullptr;
  std::byte* writable_ = nullptr;
  Observer* observer_ = nullptr;

  std::mutex mutex_;                // of what follows, for those who change it
  std::map<size_t, size_t> free_;   // begin to size, whole pages, no two of them touch
  std::vector<Released> released_;  // oldest first
  std::array<Taken, most_allocations> taken_;
  std::atomic<size_t> taken_end_{0};  // entries behind it were never used
};

}  // namespace lodestone
