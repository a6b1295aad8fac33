// Graphs: stretches of the compute stream, recorded when they come again and launched whole from then on.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "core/cuda/host_wait.h"
#include "core/replay.h"

namespace lodestone::cuda {

/// A stretch is enqueued operation by operation when it comes first: libraries choose their ways then, and take their memory. When it comes
/// again it is recorded; from then on the GPU is given all of it at once. What CUDA does not record goes on operation by operation.
/// A stretch that does not come again costs its name. One thread may call it.
class Graphs {
 public:
  /// Both must outlive it.
  Graphs(cudaStream_t stream, const HostWait& wait) : stream_(stream), wait_(wait) {}
  ~Graphs();
  Graphs(const Graphs&) = delete;
  Graphs& operator=(const Graphs&) = delete;

  /// operations(), which enqueues in the stream and calls nothing else of CUDA; or the graph of that name. What operations() throws goes
  /// through. Throws Error (resource, "F47") where a graph cannot be launched.
  void run(const ReplayName& name, const std::function<void()>& operations);
  /// All graphs, since memory or plans that they use are gone; they are recorded anew when they come again. Waits for the stream. Not while
  /// one is recorded: Error (internal).
  void forget();
  /// All names too, since memory that stretches took when they came first is lost: they come first once more.
  void begin_anew();

  /// "CUDA graphs: 12 recorded, 480 launched so far, 40 stretches operation by operation", and what CUDA does not record.
  std::string description() const;

 private:
  struct Stretch {
    cudaGraphExec_t graph = nullptr;
    bool recordable = true;
    int64_t used = 0;  // when it came last, by came_
  };

  /// Null where CUDA does not take it, and then nothing was enqueued.
  cudaGraphExec_t record(const std::function<void()>& operations);
  /// Whether another graph may be made: where there are many, those go that have not come for long, if there are any.
  bool has_room();
  void destroy_graphs(int64_t not_used_since);

  cudaStream_t stream_;
  const HostWait& wait_;
  std::map<ReplayName, Stretch> known_;
  int64_t look_again_ = 0;  // by came_: before then no graph makes place
  int64_t graphs_ = 0, came_ = 0, recorded_ = 0, launched_ = 0, refused_ = 0;
  std::string refusal_;  // the last one
  bool recording_ = false;
};

}  // namespace lodestone::cuda
