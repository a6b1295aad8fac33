// Streams that capture on the emulated GPU, and kernels that say in which order they ran.
#pragma once

#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <utility>

#include "core/cuda/stream.h"
#include "tests/cuda/attention_case.h"
#include "tests/cuda/emulator/emulator.h"

namespace lodestone {

using doubles::Execution;

/// The digits of a number say what ran, and in which order.
inline void append(int64_t* number, int64_t digit) {
  if (threadIdx.x == 0) *number = 10 * *number + digit;
}
inline void copy_number(const int64_t* from, int64_t* to) {
  if (threadIdx.x == 0) *to = *from;
}

/// Numbers in memory of the device, 0 at first.
class Numbers {
 public:
  Numbers() {
    void* p = nullptr;
    EXPECT_EQ(cudaMalloc(&p, bytes), cudaSuccess);
    at_ = static_cast<int64_t*>(p);
    for (size_t i = 0; i < bytes / sizeof(int64_t); ++i) at_[i] = 0;
  }
  ~Numbers() { free(); }
  Numbers(const Numbers&) = delete;
  Numbers& operator=(const Numbers&) = delete;
  void free() { cudaFree(std::exchange(at_, nullptr)); }
  int64_t* at(size_t i) const { return at_ + i; }
  int64_t operator[](size_t i) const { return at_[i]; }
  static constexpr size_t bytes = 4 * sizeof(int64_t);

 private:
  int64_t* at_ = nullptr;
};

class CudaGraphs : public testing::Test {
 protected:
  CudaGraphs() { attention_double() = {}; }
  ~CudaGraphs() override {
    doubles::set_execution(Execution::at_once);
    doubles::fail_call("", 0, cudaSuccess);
    doubles::forget_event(-1);
    attention_double() = {};
  }

  void enqueue(int64_t digit) { cuda::launch(append, 1, 32, 0, stream_.handle, numbers_.at(0), digit); }
  void begin(cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed) { begin(stream_.handle, mode); }
  static void begin(cudaStream_t stream, cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed) {
    ASSERT_EQ(cudaStreamBeginCapture(stream, mode), cudaSuccess);
  }
  /// Ends the capture of a stream. What it gave is there to be launched until the process ends.
  static cudaGraphExec_t end(cudaStream_t stream) {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
    EXPECT_EQ(cudaGraphInstantiate(&executable, graph, 0), cudaSuccess);
    EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
    return executable;
  }
  cudaGraphExec_t end() { return end(stream_.handle); }
  void launch(cudaGraphExec_t executable) { EXPECT_EQ(cudaGraphLaunch(executable, stream_.handle), cudaSuccess); }
  void wait() { EXPECT_EQ(cudaStreamSynchronize(stream_.handle), cudaSuccess); }
  /// The capture is broken, and takes nothing more; it ends without a graph, and the stream is as before.
  void expect_broken(const char* by) {
    EXPECT_EQ(cudaMemsetAsync(numbers_.at(0), 0, 8, stream_.handle), cudaErrorStreamCaptureInvalidated) << by;
    cudaGraph_t graph = reinterpret_cast<cudaGraph_t>(1);
    EXPECT_EQ(cudaStreamEndCapture(stream_.handle, &graph), cudaErrorStreamCaptureInvalidated) << by;
    EXPECT_EQ(cudaGetLastError(), cudaErrorStreamCaptureInvalidated) << by;
    EXPECT_EQ(graph, nullptr) << by;
    enqueue(1);
    wait();
  }
  /// Whether a call beside a capture in this mode is refused, and breaks it. If it is not, the capture goes on.
  template <class Call>
  void expect_beside(cudaStreamCaptureMode mode, const char* name, cudaError_t expected, const Call& call) {
    begin(mode);
    enqueue(1);
    EXPECT_EQ(call(), expected) << name;
    if (expected != cudaSuccess) return expect_broken(name);
    launch(end());
    wait();
  }

  cuda::Stream stream_, other_;
  cuda::Marker marker_, mark_;
  Numbers numbers_;
};

/// Values of f32 on the device.
inline Tensor uploaded(CudaBackend& be, Arena& arena, std::vector<float> values, Shape shape) {
  const Tensor x = arena.tensor(DType::f32, shape);
  be.upload(view(std::span(values)).reshape(shape), x);
  return x;
}

}  // namespace lodestone
