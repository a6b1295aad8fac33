// SharedMemory: bytes that all ranks of one host see, one segment per rank.
#pragma once

#include <memory>
#include <string>

#include "comm/communicator.h"

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

 private:
  SharedMemory(std::byte* base, size_t segment_bytes, int ranks) : base_(base), segment_bytes_(segment_bytes), ranks_(ranks) {}

  std::byte* base_;
  size_t segment_bytes_;
  int ranks_;
};

}  // namespace lodestone
