#include "tests/cuda/doubles/graphs.h"

#include <cuda_runtime_api.h>

#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "tests/cuda/doubles/counts.h"
#include "tests/cuda/doubles/runtime.h"
#include "tests/cuda/doubles/streams.h"

namespace lodestone::doubles {

namespace {

/// What was recorded, which a graph and what is made of it share.
struct Recorded {
  size_t nodes = 0;
  std::vector<std::function<void()>> work{};  // of the nodes; of none where what is enqueued is dropped
  std::set<const void*> blocks{};             // of memory that they lead to
  bool lost_memory = false;                   // one of them was given back
};

struct Capture {
  uint64_t number = 0;
  cudaStreamCaptureMode mode{};
  bool broken = false;
  std::shared_ptr<Recorded> recorded = std::make_shared<Recorded>();
};

struct Executable {
  std::shared_ptr<Recorded> recorded{};
  cudaStream_t stream = nullptr;  // where it is launched
};

/// Handles are numbers that never come again: what was destroyed is known by its own.
struct State {
  std::map<cudaStream_t, Capture> captures{};
  std::map<uint64_t, std::shared_ptr<Recorded>> graphs{};
  std::map<uint64_t, Executable> executables{};
  uint64_t made = 0;  // captures, graphs and executables
};

State& state() {
  static State s;
  return s;
}

template <class Handle>
Handle handle_of(uint64_t number) {
  return reinterpret_cast<Handle>(number);
}

template <class All, class Handle>
auto& made(All& all, Handle handle, const char* if_not) {
  const auto found = all.find(reinterpret_cast<uint64_t>(handle));
  if (found == all.end()) fail(if_not);
  return found->second;
}

constexpr const char* no_graph = "a graph that was destroyed or never made";
constexpr const char* no_executable = "an executable graph that was destroyed or never made";

Capture* capture_of(cudaStream_t stream) {
  const auto found = state().captures.find(stream);
  return found == state().captures.end() ? nullptr : &found->second;
}

cudaError_t breaks(Capture& capture, cudaError_t error) {
  return said(std::exchange(capture.broken, true) ? cudaErrorStreamCaptureInvalidated : error);
}

Capture* capture_of_number(uint64_t number) {
  for (auto& [stream, capture] : state().captures)
    if (capture.number == number) return &capture;
  return nullptr;
}

cudaError_t instantiate(const char* function, cudaGraphExec_t* executable, cudaGraph_t graph) {
  if (const cudaError_t result = result_of(function); result != cudaSuccess) return result;
  const auto& recorded = made(state().graphs, graph, no_graph);
  state().executables[++state().made] = {.recorded = recorded};
  *executable = handle_of<cudaGraphExec_t>(state().made);
  return cudaSuccess;
}

}  // namespace

cudaError_t counted(cudaStream_t stream, int64_t& count) {
  Capture* const capture = capture_of(stream);
  if (capture == nullptr) {
    ++count;
    return cudaSuccess;
  }
  if (capture->broken) return said(cudaErrorStreamCaptureInvalidated);
  ++capture->recorded->nodes;
  ++counts().nodes;
  return cudaSuccess;
}

bool captures(cudaStream_t stream) { return capture_of(stream) != nullptr; }

void record(cudaStream_t stream, std::function<void()> work, std::span<const std::byte> bytes) {
  Recorded& recorded = *capture_of(stream)->recorded;
  for (; bytes.size() >= sizeof(void*); bytes = bytes.subspan(sizeof(void*))) {
    const void* p = nullptr;
    std::memcpy(&p, bytes.data(), sizeof p);
    if (const void* const block = block_of(p); block != nullptr) recorded.blocks.insert(block);
  }
  recorded.work.push_back(std::move(work));
}

uint64_t capture_in(cudaStream_t stream) {
  const Capture* const capture = capture_of(stream);
  return capture == nullptr ? 0 : capture->number;
}

void drop_capture(cudaStream_t stream) { state().captures.erase(stream); }

void block_freed(const void* block) {
  const auto lose = [&](Recorded& recorded) { recorded.lost_memory |= recorded.blocks.contains(block); };
  for (const auto& [number, graph] : state().graphs) lose(*graph);
  for (const auto& [number, executable] : state().executables) lose(*executable.recorded);
}

cudaError_t beside_captures(Allowed allowed) {
  cudaError_t result = cudaSuccess;
  for (auto& [stream, capture] : state().captures)
    if (allowed == Allowed::never || capture.mode != cudaStreamCaptureModeRelaxed)
      result = breaks(capture, cudaErrorStreamCaptureUnsupported);
  return result;
}

cudaError_t question_to(cudaStream_t stream) {
  Capture* const capture = capture_of(stream);
  return capture == nullptr ? cudaSuccess : breaks(*capture, cudaErrorStreamCaptureUnsupported);
}

cudaError_t question_to_event(uint64_t recorded_in) {
  if (recorded_in == 0) return beside_captures(Allowed::where_relaxed);
  if (Capture* const capture = capture_of_number(recorded_in); capture != nullptr) capture->broken = true;
  return said(cudaErrorCapturedEvent);
}

cudaError_t goes_on(cudaStream_t stream) {
  const Capture* const capture = capture_of(stream);
  return said(capture != nullptr && capture->broken ? cudaErrorStreamCaptureInvalidated : cudaSuccess);
}

std::optional<cudaError_t> wait_beside_captures(cudaStream_t stream, uint64_t recorded_in) {
  Capture *const waits = capture_of(stream), *const other = recorded_in == 0 ? nullptr : capture_of_number(recorded_in);
  if (waits == nullptr && recorded_in == 0) return std::nullopt;
  if (waits == nullptr && other != nullptr) fail("a stream that joins the capture of another one by an event, which is not used here");
  if (waits == nullptr) return said(cudaErrorCapturedEvent);
  if (waits->broken) return said(cudaErrorStreamCaptureInvalidated);
  if (waits == other) return cudaSuccess;  // it stands before, in the same stream
  if (other == nullptr) return breaks(*waits, recorded_in == 0 ? cudaErrorStreamCaptureIsolation : cudaErrorCapturedEvent);
  other->broken = true;
  return breaks(*waits, cudaErrorStreamCaptureMerge);
}

}  // namespace lodestone::doubles

using namespace lodestone::doubles;

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (const cudaError_t result = result_of("cudaStreamBeginCapture"); result != cudaSuccess) return result;
  if (captures(stream)) return said(cudaErrorIllegalState);
  if (is_held(stream)) fail("a capture in a stream in which a library has yet to enqueue what was asked for before");
  state().captures[stream] = {.number = ++state().made, .mode = mode};
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  const Capture* const capture = capture_of(stream);
  if (capture == nullptr) return said(cudaErrorIllegalState);
  const Capture ended = *capture;
  drop_capture(stream);
  if (const cudaError_t result = result_of("cudaStreamEndCapture"); result != cudaSuccess) return result;
  if (ended.broken) return said(cudaErrorStreamCaptureInvalidated);
  ++counts().graphs;
  state().graphs[++state().made] = ended.recorded;
  *graph = handle_of<cudaGraph_t>(state().made);
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  return cudaStreamGetCaptureInfo(stream, status, nullptr, nullptr, nullptr, nullptr, nullptr);
}

cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status, unsigned long long* number, cudaGraph_t* graph,
                                     const cudaGraphNode_t** nodes, const cudaGraphEdgeData** edges, size_t* node_count) {
  if (const cudaError_t result = result_of("cudaStreamGetCaptureInfo"); result != cudaSuccess) return result;
  if (graph != nullptr || nodes != nullptr || edges != nullptr || node_count != nullptr)
    fail("a question about what a capture has recorded, which is not used here");
  const Capture* const capture = capture_of(stream);
  *status = capture == nullptr ? cudaStreamCaptureStatusNone
            : capture->broken  ? cudaStreamCaptureStatusInvalidated
                               : cudaStreamCaptureStatusActive;
  if (number != nullptr) *number = capture_in(stream);
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  if (const cudaError_t result = result_of("cudaGraphGetNodes"); result != cudaSuccess) return result;
  if (nodes != nullptr) fail("the nodes of a graph, of which only the number is known here");
  *count = made(state().graphs, graph, no_graph)->nodes;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  return instantiate("cudaGraphInstantiate", executable, graph);
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  return instantiate("cudaGraphInstantiateWithFlags", executable, graph);
}

cudaError_t cudaGraphUpload(cudaGraphExec_t executable, cudaStream_t stream) {
  if (const cudaError_t result = result_of("cudaGraphUpload"); result != cudaSuccess) return result;
  made(state().executables, executable, no_executable);
  return question_to(stream);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t handle, cudaStream_t stream) {
  if (const cudaError_t result = result_of("cudaGraphLaunch"); result != cudaSuccess) return result;
  Executable& executable = made(state().executables, handle, no_executable);
  if (executable.recorded->lost_memory) fail("the launch of a graph whose memory was given back after it was captured");
  if (captures(stream)) fail("the launch of a graph in a capture, which is not used here");
  if (executable.stream != nullptr && executable.stream != stream) fail("a graph that is launched in two streams, which is not used here");
  executable.stream = stream;
  ++counts().graph_launches;
  enqueue_pieces(stream, executable.recorded->work);
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  if (const cudaError_t result = result_of("cudaGraphExecDestroy"); result != cudaSuccess) return result;
  if (state().executables.erase(reinterpret_cast<uint64_t>(executable)) == 0) fail(no_executable);
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  if (const cudaError_t result = result_of("cudaGraphDestroy"); result != cudaSuccess) return result;
  if (state().graphs.erase(reinterpret_cast<uint64_t>(graph)) == 0) fail(no_graph);
  return cudaSuccess;
}

}  // extern "C"
