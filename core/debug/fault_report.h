// History and FaultReport: what a debug backend was asked to do last, and what the process says when the host touches device memory.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <span>

#include "core/debug/debug_memory.h"

namespace lodestone {

/// The last operations of one debug backend, and how many were enqueued and done in all. One thread writes; a signal handler may read at
/// any time, and then shows an operation that is just being added with parts of the one that it replaces.
class History {
 public:
  static constexpr size_t length = 64, most_operands = 20;

  /// `name` must live as long as this. Operands beyond most_operands are forgotten.
  void enqueue(const char* name, std::span<const DebugMemory::Range> operands) noexcept;
  void done(int64_t operations) noexcept { done_ = operations; }
  int64_t enqueued() const noexcept { return enqueued_; }
  int64_t done() const noexcept { return done_; }

  // Async-signal-safe, to the standard error:
  /// One line an operation, oldest first.
  void write() const noexcept;
  /// Which operand of the latest operations has the byte at this offset of the memory.
  void write_owner(size_t offset) const noexcept;

 private:
  struct Operand {
    std::atomic<size_t> begin{0}, size_bytes{0};
  };
  struct Operation {
    std::atomic<const char*> name{nullptr};
    std::atomic<size_t> operand_count{0};
    std::array<Operand, most_operands> operands;
  };
  /// The number of the oldest operation that is kept.
  int64_t oldest() const noexcept;
  const Operation& operation(int64_t number) const noexcept { return operations_[static_cast<size_t>(number) % length]; }

  std::array<Operation, length> operations_;  // operation n in place n mod length
  std::atomic<int64_t> enqueued_{0}, done_{0};
};

/// As long as one lives, a fault in its memory is reported on the standard error - the offset, its allocation, the history, and the operand
/// that lies there - before the process dies of SIGSEGV. Other faults go on to what handled them before. The thread that makes it gets a
/// stack for signals where it has none; the same thread must destroy it.
class FaultReport {
 public:
  /// Both must outlive this. The first one in a process installs the handler, for good.
  FaultReport(const DebugMemory& memory, const History& history);
  ~FaultReport();
  FaultReport(const FaultReport&) = delete;
  FaultReport& operator=(const FaultReport&) = delete;

  const DebugMemory& memory() const noexcept { return memory_; }
  /// Async-signal-safe.
  void write(const std::byte* address) const noexcept;

 private:
  const DebugMemory& memory_;
  const History& history_;
  std::unique_ptr<std::byte[]> stack_;
};

/// Writes `what` and a number on a line of the standard error, the history below it, and aborts.
[[noreturn]] void abort_with_history(const char* what, int64_t operation, const History& history) noexcept;

}  // namespace lodestone
