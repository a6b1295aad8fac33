#include "core/cuda/graphs.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "core/cuda/cuda_call.h"
#include "core/error.h"

namespace lodestone::cuda {

namespace {

// A graph of a chunk has some hundreds of kernels, whose arguments the driver keeps on the device. A step has one to three stretches a
// chunk.
constexpr size_t most_known = 512;

struct Destroy {
  void operator()(cudaGraph_t graph) const { cudaGraphDestroy(graph); }
};
using Recorded = std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, Destroy>;

/// Ends the recording of a stream, also where an exception leaves.
class Recording {
 public:
  explicit Recording(cudaStream_t stream, bool& flag) : stream_(stream), flag_(flag) { flag_ = true; }
  ~Recording() {
    if (flag_) end();
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  /// What was recorded, or null where CUDA did not take it.
  Recorded end() {
    flag_ = false;
    cudaGraph_t graph = nullptr;
    return Recorded(cudaStreamEndCapture(stream_, &graph) == cudaSuccess ? graph : nullptr);
  }

 private:
  cudaStream_t stream_;
  bool& flag_;
};

}  // namespace

void Graphs::run(const ReplayName& name, const std::function<void()>& operations) {
  LODE_CHECK(!recording_, "a stretch begins inside of one that is recorded");
  const auto [found, is_new] = known_.try_emplace(name);
  Stretch& stretch = found->second;
  stretch.used = ++came_;
  if (is_new) {
    operations();
    return make_room();
  }
  if (stretch.graph == nullptr && stretch.recordable) {
    stretch.graph = record(operations);
    stretch.recordable = stretch.graph != nullptr;
  }
  if (stretch.graph == nullptr) return operations();
  check(cudaGraphLaunch(stretch.graph, stream_), "the launch of a CUDA graph");
  ++launched_;
}

// What operations() throws meanwhile, it throws again when nothing is recorded, if it was not for that.
cudaGraphExec_t Graphs::record(const std::function<void()>& operations) {
  const auto refused = [&](const char* why) {
    cudaGetLastError();  // or the next call would say it again
    ++refused_;
    refusal_ = why;
    return nullptr;
  };
  if (const cudaError_t begun = cudaStreamBeginCapture(stream_, cudaStreamCaptureModeRelaxed); begun != cudaSuccess)
    return refused(cudaGetErrorString(begun));
  Recording recording(stream_, recording_);
  try {
    operations();
  } catch (const Error& error) {
    recording.end();
    return refused(error.what());
  }
  const Recorded recorded = recording.end();
  if (recorded == nullptr) return refused("the recording was broken off");
  cudaGraphExec_t graph = nullptr;
  if (const cudaError_t made = cudaGraphInstantiate(&graph, recorded.get(), 0); made != cudaSuccess)
    return refused(cudaGetErrorString(made));
  ++recorded_;
  return graph;
}

// A graph may still be at work, and so may what it was recorded from.
void Graphs::make_room() {
  if (known_.size() <= most_known) return;
  const int64_t old = came_ - static_cast<int64_t>(most_known / 2);
  cudaStreamSynchronize(stream_);
  std::erase_if(known_, [&](const auto& entry) {
    if (entry.second.used > old) return false;
    if (entry.second.graph != nullptr) cudaGraphExecDestroy(entry.second.graph);
    return true;
  });
}

void Graphs::forget() {
  LODE_CHECK(!recording_, "graphs are forgotten while one is recorded: an operation asks for more memory than it did before");
  const auto made = [](const auto& entry) { return entry.second.graph != nullptr; };
  if (std::ranges::none_of(known_, made)) return;
  cudaStreamSynchronize(stream_);
  for (auto& [name, stretch] : known_)
    if (stretch.graph != nullptr) cudaGraphExecDestroy(std::exchange(stretch.graph, nullptr));
}

std::string Graphs::description() const {
  return cat("CUDA graphs: ", recorded_, " recorded, ", launched_, " launched so far",
             refused_ == 0 ? "" : cat(", ", refused_, " that CUDA does not record (", refusal_, ")"));
}

}  // namespace lodestone::cuda
