#include "core/cuda/graphs.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "core/cuda/cuda_call.h"
#include "core/error.h"

namespace lodestone::cuda {

namespace {

// A graph of a chunk has some hundreds of kernels, whose arguments the driver keeps on the device. Names alone are some hundred bytes.
constexpr size_t most_known = 16384;
constexpr int64_t most_graphs = 512;
// A graph that has not come for so many stretches makes place for another one: a step has fewer, or all its graphs would make place in
// turn.
constexpr int64_t long_ago = 4 * most_graphs;

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

Graphs::~Graphs() { destroy_graphs(came_ + 1); }

void Graphs::run(const ReplayName& name, const std::function<void()>& operations) {
  LODE_CHECK(!recording_, "a stretch begins inside of one that is recorded");
  ++came_;
  const auto found = known_.find(name);
  if (found == known_.end()) {
    operations();
    if (known_.size() >= most_known) std::erase_if(known_, [](const auto& entry) { return entry.second.graph == nullptr; });
    known_[name].used = came_;
    return;
  }
  Stretch& stretch = found->second;
  stretch.used = came_;
  if (stretch.graph == nullptr && stretch.recordable && has_room()) {
    stretch.graph = record(operations);
    stretch.recordable = stretch.graph != nullptr;
    graphs_ += static_cast<int64_t>(stretch.graph != nullptr);
  }
  if (stretch.graph == nullptr) return operations();
  check(cudaGraphLaunch(stretch.graph, stream_), "the launch of a CUDA graph");
  ++launched_;
}

// What operations() throws meanwhile, it throws again when nothing is recorded, if it was not for that.
cudaGraphExec_t Graphs::record(const std::function<void()>& operations) {
  const auto refused = [&](const std::string& why) {
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
    if (error.exit_code() == ExitCode::internal) throw;
    return refused(error.what());
  }
  const Recorded recorded = recording.end();
  if (recorded == nullptr) return refused("the recording was broken off");
  cudaGraphExec_t graph = nullptr;
  cudaError_t made = cudaGraphInstantiate(&graph, recorded.get(), 0);
  if (made == cudaSuccess) made = cudaGraphUpload(graph, stream_);  // takes its memory now, where it may be refused
  if (made != cudaSuccess) {
    if (graph != nullptr) cudaGraphExecDestroy(graph);
    return refused(cudaGetErrorString(made));
  }
  ++recorded_;
  return graph;
}

bool Graphs::has_room() {
  if (graphs_ < most_graphs) return true;
  if (came_ < look_again_) return false;
  destroy_graphs(came_ - long_ago);
  int64_t oldest = came_;
  for (const auto& [name, stretch] : known_)
    if (stretch.graph != nullptr) oldest = std::min(oldest, stretch.used);
  look_again_ = oldest + long_ago + 1;
  return graphs_ < most_graphs;
}

// A graph may still be at work.
void Graphs::destroy_graphs(int64_t not_used_since) {
  const auto goes = [&](const Stretch& stretch) { return stretch.graph != nullptr && stretch.used < not_used_since; };
  if (std::ranges::none_of(known_, [&](const auto& entry) { return goes(entry.second); })) return;
  wait_.for_stream(stream_);  // what failed there the next call says
  for (auto& [name, stretch] : known_) {
    if (!goes(stretch)) continue;
    cudaGraphExecDestroy(std::exchange(stretch.graph, nullptr));
    --graphs_;
  }
}

void Graphs::forget() {
  LODE_CHECK(!recording_, "graphs are forgotten while one is recorded: an operation asks for more memory than it did before");
  destroy_graphs(came_ + 1);
}

void Graphs::begin_anew() {
  forget();
  known_.clear();
}

std::string Graphs::description() const {
  return cat("CUDA graphs: ", recorded_, " recorded, ", launched_, " launched so far, ", came_ - launched_,
             " stretches operation by operation", refused_ == 0 ? "" : cat(", ", refused_, " that CUDA does not record (", refusal_, ")"));
}

}  // namespace lodestone::cuda
