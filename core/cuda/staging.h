// Staging: pinned memory of the host, through which everything travels to the GPU and back.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "core/cuda/host_wait.h"
#include "core/cuda/stream.h"

namespace lodestone::cuda {

/// Copies are enqueued in one stream. What is uploaded is read when upload() is called: its source may change at once. What is downloaded
/// lies at its place on the host after finish(), which is called once the stream has come so far. Blocks of pinned memory are taken in
/// turn; where all are under way, a call waits for the oldest.
class Staging {
 public:
  /// `wait` must outlive it.
  Staging(cudaStream_t stream, const HostWait& wait) : stream_(stream), wait_(wait) {}
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  void upload(const std::byte* host, std::byte* device, size_t size_bytes);
  /// number: of the operation, by which finish() knows what has come.
  void download(const std::byte* device, std::byte* host, size_t size_bytes, int64_t number);
  /// Everything up to operation `number` is done: brings what was downloaded by then to its places.
  void finish(int64_t number);

 private:
  struct Block {
    std::byte* memory = nullptr;
    size_t size_bytes = 0;
    Marker over;                // recorded behind the copy
    bool busy = false;          // from a copy to its end, and for a download to finish()
    std::byte* host = nullptr;  // where a download belongs; null: an upload
    size_t used_bytes = 0;
    int64_t number = 0;
  };

  Block& free_block(size_t size_bytes);
  void deliver(Block& block);

  cudaStream_t stream_;
  const HostWait& wait_;
  std::deque<Block> blocks_;      // their addresses stay
  std::deque<Block*> in_flight_;  // the oldest first
};

}  // namespace lodestone::cuda
