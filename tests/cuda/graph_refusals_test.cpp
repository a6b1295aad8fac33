// Is what a device refuses of captures and graphs refused here, and does what no graph may do end the process?
#include "tests/cuda/graph_case.h"

namespace lodestone {
namespace {

TEST_F(CudaGraphs, AStreamSaysWhetherItCaptures) {
  const auto status = [&] {
    cudaStreamCaptureStatus said{};
    EXPECT_EQ(cudaStreamIsCapturing(stream_.handle, &said), cudaSuccess);
    return said;
  };
  EXPECT_EQ(status(), cudaStreamCaptureStatusNone);
  begin();
  EXPECT_EQ(status(), cudaStreamCaptureStatusActive);
  unsigned long long first = 0, second = 0;
  cudaStreamCaptureStatus said{};
  EXPECT_EQ(cudaStreamGetCaptureInfo(stream_.handle, &said, &first, nullptr, nullptr, nullptr, nullptr), cudaSuccess);
  EXPECT_EQ(cudaStreamBeginCapture(stream_.handle, cudaStreamCaptureModeRelaxed), cudaErrorIllegalState);
  EXPECT_EQ(status(), cudaStreamCaptureStatusActive);
  EXPECT_EQ(cudaStreamQuery(stream_.handle), cudaErrorStreamCaptureUnsupported);
  EXPECT_EQ(status(), cudaStreamCaptureStatusInvalidated);
  expect_broken("a question");
  EXPECT_EQ(status(), cudaStreamCaptureStatusNone);
  begin();
  EXPECT_EQ(cudaStreamGetCaptureInfo(stream_.handle, &said, &second, nullptr, nullptr, nullptr, nullptr), cudaSuccess);
  EXPECT_NE(first, second);
  launch(end());
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream_.handle, &graph), cudaErrorIllegalState);
}

TEST_F(CudaGraphs, WaitingForACaptureBreaksIt) {
  const cudaError_t unsupported = cudaErrorStreamCaptureUnsupported;
  for (const auto mode : {cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal, cudaStreamCaptureModeRelaxed}) {
    expect_beside(mode, "cudaStreamSynchronize", unsupported, [&] { return cudaStreamSynchronize(stream_.handle); });
    expect_beside(mode, "cudaStreamQuery", unsupported, [&] { return cudaStreamQuery(stream_.handle); });
    expect_beside(mode, "cudaDeviceSynchronize", unsupported, [&] { return cudaDeviceSynchronize(); });
    expect_beside(mode, "cudaStreamSynchronize of another", cudaSuccess, [&] { return cudaStreamSynchronize(other_.handle); });
    expect_beside(mode, "cudaEventRecord elsewhere", cudaSuccess, [&] { return cudaEventRecord(mark_.handle, other_.handle); });
  }
}

TEST_F(CudaGraphs, MemoryIsTakenBesideRelaxedCapturesAlone) {
  void *p = nullptr, *pinned = nullptr;
  const auto take = [&] { return cudaMalloc(&p, 64); };
  const auto take_pinned = [&] { return cudaMallocHost(&pinned, 64); };
  const auto ask = [&] { return cudaEventQuery(mark_.handle); };
  const auto wait_for_event = [&] { return cudaEventSynchronize(mark_.handle); };
  for (const auto mode : {cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal, cudaStreamCaptureModeRelaxed}) {
    const bool relaxed = mode == cudaStreamCaptureModeRelaxed;
    const cudaError_t expected = relaxed ? cudaSuccess : cudaErrorStreamCaptureUnsupported;
    expect_beside(mode, "cudaMalloc", expected, take);
    expect_beside(mode, "cudaMallocHost", expected, take_pinned);
    expect_beside(mode, "cudaEventQuery", expected, ask);
    expect_beside(mode, "cudaEventSynchronize", expected, wait_for_event);
    if (!relaxed) {
      ASSERT_EQ(take(), cudaSuccess);
      ASSERT_EQ(take_pinned(), cudaSuccess);
    }
    const size_t taken = doubles::device_bytes();
    expect_beside(mode, "cudaFree", cudaErrorStreamCaptureUnsupported, [&] { return cudaFree(p); });
    expect_beside(mode, "cudaFreeHost", cudaErrorStreamCaptureUnsupported, [&] { return cudaFreeHost(pinned); });
    EXPECT_EQ(doubles::device_bytes(), taken) << "refused memory is not given back";
    EXPECT_EQ(cudaFree(p), cudaSuccess);
    EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
  }
}

TEST_F(CudaGraphs, ACaptureWaitsForNoEventFromOutside) {
  for (const Execution execution : {Execution::at_once, Execution::late, Execution::dropped}) {
    doubles::set_execution(execution);
    ASSERT_EQ(cudaEventRecord(marker_.handle, other_.handle), cudaSuccess);
    const auto join = [&] { return cudaStreamWaitEvent(stream_.handle, marker_.handle, 0); };
    expect_beside(cudaStreamCaptureModeRelaxed, "an event that is over", cudaErrorStreamCaptureIsolation, join);
    expect_beside(cudaStreamCaptureModeRelaxed, "its own event", cudaSuccess, [&] {
      EXPECT_EQ(cudaEventRecord(mark_.handle, stream_.handle), cudaSuccess);
      return cudaStreamWaitEvent(stream_.handle, mark_.handle, 0);
    });
    expect_beside(cudaStreamCaptureModeRelaxed, "the event of another capture", cudaErrorStreamCaptureMerge, [&] {
      begin(other_.handle);
      EXPECT_EQ(cudaEventRecord(mark_.handle, other_.handle), cudaSuccess);
      return cudaStreamWaitEvent(stream_.handle, mark_.handle, 0);
    });
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(other_.handle, &graph), cudaErrorStreamCaptureInvalidated);
  }
}

TEST_F(CudaGraphs, NobodyOutsideWaitsForAnEventOfACapture) {
  const auto record_event = [&] { EXPECT_EQ(cudaEventRecord(mark_.handle, stream_.handle), cudaSuccess); };
  expect_beside(cudaStreamCaptureModeRelaxed, "cudaEventQuery", cudaErrorCapturedEvent, [&] {
    record_event();
    return cudaEventQuery(mark_.handle);
  });
  expect_beside(cudaStreamCaptureModeRelaxed, "cudaEventSynchronize", cudaErrorCapturedEvent, [&] {
    record_event();
    return cudaEventSynchronize(mark_.handle);
  });
  begin();
  record_event();
  EXPECT_DEATH(cudaStreamWaitEvent(other_.handle, mark_.handle, 0), "a stream that joins the capture of another one");
  launch(end());
  // Nor when the capture is over, until the event is recorded outside of one.
  EXPECT_EQ(cudaEventQuery(mark_.handle), cudaErrorCapturedEvent);
  EXPECT_EQ(cudaEventSynchronize(mark_.handle), cudaErrorCapturedEvent);
  EXPECT_EQ(cudaStreamWaitEvent(other_.handle, mark_.handle, 0), cudaErrorCapturedEvent);
  expect_beside(cudaStreamCaptureModeRelaxed, "the event of a capture that is over", cudaErrorCapturedEvent,
                [&] { return cudaStreamWaitEvent(stream_.handle, mark_.handle, 0); });
  record_event();
  EXPECT_EQ(cudaStreamWaitEvent(other_.handle, mark_.handle, 0), cudaSuccess);
  EXPECT_EQ(cudaEventQuery(mark_.handle), cudaSuccess);
}

TEST_F(CudaGraphs, ABrokenCaptureTakesNoWork) {
  CudaBackend be(0);
  Arena arena(be.memory(), size_t{1} << 20);
  const Tensor x = uploaded(be, arena, {1, 2, 3, 4}, {2, 2}), y = uploaded(be, arena, {0, 0, 0, 0}, {2, 2});
  const auto product = [&] { be.gemm(Op::none, x, Op::none, x, 1, 0, y); };
  product();
  be.synchronize();
  const cudaStream_t stream = be.stream();
  begin(stream);
  EXPECT_EQ(cudaStreamQuery(stream), cudaErrorStreamCaptureUnsupported);
  EXPECT_THROW(be.scale(2, x, x), Error);
  EXPECT_THROW(product(), Error);
  EXPECT_EQ(cudaEventRecord(mark_.handle, stream), cudaErrorStreamCaptureInvalidated);
  EXPECT_EQ(cudaStreamWaitEvent(stream, marker_.handle, 0), cudaErrorStreamCaptureInvalidated);
  EXPECT_EQ(cudaMemcpyAsync(y.bytes(), x.bytes(), 8, cudaMemcpyDeviceToDevice, stream), cudaErrorStreamCaptureInvalidated);
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
  product();
  EXPECT_EQ(fetch<float>(be, arena, y)[0], 7);
}

TEST_F(CudaGraphs, WhatNoGraphMayDoEndsTheProcess) {
  Numbers lost;
  begin();
  cuda::launch(append, 1, 32, 0, stream_.handle, lost.at(1), int64_t{3});
  const cudaGraphExec_t of_lost = end();
  begin();
  enqueue(2);
  const cudaGraphExec_t executable = end();
  launch(of_lost);
  wait();
  lost.free();
  const Numbers others;  // perhaps at the same address
  EXPECT_DEATH(launch(of_lost), "the launch of a graph whose memory was given back after it was captured");
  launch(executable);
  EXPECT_DEATH(cudaGraphLaunch(executable, other_.handle), "a graph that is launched in two streams");
  begin();
  EXPECT_DEATH(launch(executable), "the launch of a graph in a capture");
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaStreamEndCapture(stream_.handle, &graph), cudaSuccess);
  EXPECT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  cudaGraphExec_t of_none = nullptr;
  EXPECT_DEATH(cudaGraphInstantiate(&of_none, graph, 0), "a graph that was destroyed");
  EXPECT_DEATH(cudaGraphDestroy(graph), "a graph that was destroyed");
  EXPECT_EQ(cudaGraphExecDestroy(executable), cudaSuccess);
  EXPECT_DEATH(launch(executable), "an executable graph that was destroyed");
  EXPECT_DEATH(cudaGraphExecDestroy(executable), "an executable graph that was destroyed");
  doubles::hold(stream_.handle, true);
  EXPECT_DEATH(begin(), "a capture in a stream in which a library has yet to enqueue");
  doubles::hold(stream_.handle, false);
}

TEST_F(CudaGraphs, EveryCallFailsOnDemand) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  size_t nodes = 0;
  cudaStreamCaptureStatus status{};
  const auto fails_once = [](const char* function, const auto& call) {
    doubles::fail_call(function, 0, cudaErrorMemoryAllocation);
    EXPECT_EQ(call(), cudaErrorMemoryAllocation) << function;
    EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation) << function;
  };
  const auto fails_and_then_works = [&](const char* function, const auto& call) {
    fails_once(function, call);
    EXPECT_EQ(call(), cudaSuccess) << function;
  };
  fails_and_then_works("cudaStreamBeginCapture", [&] { return cudaStreamBeginCapture(stream_.handle, cudaStreamCaptureModeRelaxed); });
  fails_and_then_works("cudaStreamGetCaptureInfo", [&] { return cudaStreamIsCapturing(stream_.handle, &status); });
  fails_once("cudaStreamEndCapture", [&] { return cudaStreamEndCapture(stream_.handle, &graph); });
  EXPECT_EQ(graph, nullptr) << "the capture is over, and gave nothing";
  begin();
  enqueue(1);
  EXPECT_EQ(cudaStreamEndCapture(stream_.handle, &graph), cudaSuccess);
  fails_and_then_works("cudaGraphGetNodes", [&] { return cudaGraphGetNodes(graph, nullptr, &nodes); });
  fails_and_then_works("cudaGraphInstantiate", [&] { return cudaGraphInstantiate(&executable, graph, 0); });
  fails_and_then_works("cudaGraphInstantiateWithFlags", [&] { return cudaGraphInstantiateWithFlags(&executable, graph, 0); });
  fails_and_then_works("cudaGraphUpload", [&] { return cudaGraphUpload(executable, stream_.handle); });
  fails_and_then_works("cudaGraphLaunch", [&] { return cudaGraphLaunch(executable, stream_.handle); });
  wait();
  EXPECT_EQ(numbers_[0], 1) << "a launch that fails runs nothing";
  fails_and_then_works("cudaGraphExecDestroy", [&] { return cudaGraphExecDestroy(executable); });
  fails_and_then_works("cudaGraphDestroy", [&] { return cudaGraphDestroy(graph); });
}

}  // namespace
}  // namespace lodestone
