// MappedFile: the bytes of a file in memory, whose reader survives that the file is cut short meanwhile.
#pragma once

#include <signal.h>

#include <cstddef>
#include <memory>
#include <span>

namespace lodestone {

/// A read-only, shared mapping. Reading a page that the file has lost raises SIGBUS, which would end the process. Instead all lost pages
/// of that mapping read as zeros from then on and cut() says so: a reader asks behind what it has read, and before it believes it.
class MappedFile {
 public:
  MappedFile() = default;
  /// Maps the first size_bytes of an open file, which may be closed then. Not valid() when the system refuses.
  MappedFile(int descriptor, size_t size_bytes);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  bool valid() const { return bytes_.data() != nullptr; }
  const std::byte* data() const { return bytes_.data(); }
  /// Whether a read has met a page that the file no longer has.
  bool cut() const;

 private:
  struct Entry;
  friend struct MappedFileRegistry;
  std::span<const std::byte> bytes_;
  Entry* entry_ = nullptr;  // what the signal's handler knows of this mapping
};

/// A stack for the handler of SIGBUS, in place of what the thread that makes it had before, as long as it lives: threads that read mapped
/// files have one, so that nothing depends on how much of their own is left.
class SignalStack {
 public:
  SignalStack();
  ~SignalStack();
  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;

 private:
  std::unique_ptr<std::byte[]> memory_;
  stack_t before_{};
};

}  // namespace lodestone
