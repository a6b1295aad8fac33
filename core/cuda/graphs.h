// Graphs: stretches of the compute stream, recorded when they come again and launched whole from then on.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "core/replay.h"

namespace lodestone::cuda {

/// A stretch is enqueued operation by operation when it comes first: libraries choose their ways then, and take their memory. When it comes
/// again it is recorded; from then on the GPU is given all of it at once. What CUDA does not record goes on operation by operation.
/// A stretch that does not come again costs its name. One thread may call it.
class Graphs {
 public:
  /// `stream` must outlive it.
  explicit Graphs(cudaStream_t stream) : stream_(stream) {}
  ~Graphs() { forget(); }
  Graphs(const Graphs&) = delete;
  Graphs& operator=(const Graphs&) = delete;

  /// operations(), which enqueues in the stream and calls nothing else of CUDA; or the graph of that name. What operations() throws goes
  /// through. Throws Error (resource, "F47") where a graph cannot be launched.
  void run(const ReplayName& name, const std::function<void()>& operations);
  /// All graphs, since memory or plans that they use are gone; they are recorded anew when they come again. Waits for the stream. Not while
  /// one is recorded: Error (internal).
  void forget();

  /// "CUDA graphs: 12 recorded, 480 launched so far", and of how many CUDA said what.
  std::string description() const;

 private:
  struct Stretch {
    cudaGraphExec_t graph = nullptr;
    bool recordable = true;
    int64_t used = 0;  // when it came last, by came_
  };

  /// Null where CUDA does not take it, and then nothing was enqueued.
  cudaGraphExec_t record(const std::function<void()>& operations);
  /// Those that have not come for the longest time, until there is room for another one.
  void make_room();

  cudaStream_t stream_;
  std::map<ReplayName, Stretch> known_;
  int64_t came_ = 0, recorded_ = 0, launched_ = 0, refused_ = 0;
  std::string refusal_;  // the last one
  bool recording_ = false;
};

}  // namespace lodestone::cuda
