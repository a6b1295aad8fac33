// SharedMemory: bytes that all ranks of one host see, one segment per rank.
#pragma once

#include <memory>
#include <utility>

#include "comm/communicator.h"
#include "core/handle.h"

namespace lodestone {

class SharedMemory {
 public:
  /// Collective. Zeroed memory of segment_bytes (rounded up to whole pages) for each rank of `comm`; each rank's segment is
  /// taken by that rank, so it lies close to it. Null, on every rank, when the ranks are not all on one host (or not in one
  /// container) or the host has too little left in /dev/shm: callers then go through `comm`. Nothing is left behind on disk.
  static std::unique_ptr<SharedMemory> make(Communicator& comm, size_t segment_bytes);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  std::byte* segment(int rank) const { return base_ + static_cast<size_t>(rank) * segment_bytes_; }
  size_t segment_bytes() const { return segment_bytes_; }
  /// Whether the process of another rank may still have this memory: false once it has ended, in whatever way, or destroyed its object.
  /// Told by a lock that the system lets go of; always true where it has none.
  bool held(int rank) const;

 private:
  static void close_file(int descriptor);
  using File = Handle<int, close_file, -1>;
  SharedMemory(File file, std::byte* base, size_t segment_bytes, int ranks)
      : file_(std::move(file)), base_(base), segment_bytes_(segment_bytes), ranks_(ranks) {}

  File file_;  // holds the lock of this rank's segment; empty where not every rank got its lock
  std::byte* base_;
  size_t segment_bytes_;
  int ranks_;
};

}  // namespace lodestone
