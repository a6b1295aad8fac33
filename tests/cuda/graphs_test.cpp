// Does what a stream captures run once with every launch of its graph, in its place, and how is it counted?
#include "tests/cuda/graph_case.h"

namespace lodestone {
namespace {

struct Order {
  Execution execution = Execution::at_once;
  uint64_t seed = 1;
};
constexpr Order orders[] = {{Execution::at_once},     {Execution::late},        {Execution::oldest_first}, {Execution::newest_first},
                            {Execution::shuffled, 1}, {Execution::shuffled, 2}, {Execution::shuffled, 3},  {Execution::shuffled, 4}};

TEST_F(CudaGraphs, RunWithEveryLaunchInOrderWithWhatStandsAround) {
  for (const Order& order : orders) {
    doubles::set_execution(order.execution, order.seed);
    ASSERT_EQ(cudaMemsetAsync(numbers_.at(0), 0, Numbers::bytes, stream_.handle), cudaSuccess);
    enqueue(1);
    begin();
    int64_t digit = 2;
    enqueue(digit);
    digit = 9;  // arguments are those of the capture
    enqueue(3);
    const cudaGraphExec_t executable = end();
    EXPECT_TRUE(order.execution != Execution::at_once || numbers_[0] == 1) << "nothing runs that is captured";
    enqueue(4);
    launch(executable);
    // Another stream reads behind the first launch and in front of the second one.
    ASSERT_EQ(cudaEventRecord(marker_.handle, stream_.handle), cudaSuccess);
    ASSERT_EQ(cudaStreamWaitEvent(other_.handle, marker_.handle, 0), cudaSuccess);
    cuda::launch(copy_number, 1, 32, 0, other_.handle, numbers_.at(0), numbers_.at(1));
    ASSERT_EQ(cudaEventRecord(mark_.handle, other_.handle), cudaSuccess);
    enqueue(5);
    ASSERT_EQ(cudaStreamWaitEvent(stream_.handle, mark_.handle, 0), cudaSuccess);
    launch(executable);
    launch(executable);
    enqueue(6);
    EXPECT_EQ(cudaGraphExecDestroy(executable), cudaSuccess) << "what was launched runs to its end";
    wait();
    EXPECT_EQ(numbers_[0], 14'235'23'23'6) << static_cast<int>(order.execution) << ", seed " << order.seed;
    EXPECT_TRUE(numbers_[1] == 1423 || numbers_[1] == 14235) << numbers_[1] << ", " << static_cast<int>(order.execution);
  }
}

// Negative control: an event behind a launch is needed as behind any other work.
TEST_F(CudaGraphs, AnEventThatIsLeftOutBehindALaunchIsNoticed) {
  begin();
  enqueue(2);
  const cudaGraphExec_t executable = end();
  doubles::set_execution(Execution::late);
  doubles::forget_event(0);
  launch(executable);
  ASSERT_EQ(cudaEventRecord(marker_.handle, stream_.handle), cudaSuccess);
  ASSERT_EQ(cudaStreamWaitEvent(other_.handle, marker_.handle, 0), cudaSuccess);
  EXPECT_EQ(doubles::open_events(), std::vector<int64_t>{0});
  cuda::launch(copy_number, 1, 32, 0, other_.handle, numbers_.at(0), numbers_.at(1));
  ASSERT_EQ(cudaStreamSynchronize(other_.handle), cudaSuccess);
  EXPECT_EQ(numbers_[1], 0);
  wait();
  EXPECT_EQ(numbers_[0], 2);
}

TEST_F(CudaGraphs, ProductsAndKernelsReadWhatStandsThereWhenTheyRun) {
  for (const Execution execution : {Execution::at_once, Execution::late}) {
    doubles::set_execution(execution);
    CudaBackend be(0, AttentionChoice::own);
    Arena arena(be.memory(), size_t{1} << 20);
    const Tensor x = uploaded(be, arena, {1, 2, 3, 4}, {2, 2}), weight = uploaded(be, arena, {1, 0, 1, 1}, {2, 2}),
                 bias = uploaded(be, arena, {5, 6}, {2}), y = uploaded(be, arena, {0, 0, 0, 0}, {2, 2});
    be.linear(x, weight, bias, y);  // algorithms are chosen and memory is taken before
    be.synchronize();
    begin(be.stream(), cudaStreamCaptureModeThreadLocal);
    be.linear(x, weight, bias, y);
    be.scale(2, y, y);
    const cudaGraphExec_t executable = end(be.stream());
    const auto launched = [&] {
      EXPECT_EQ(cudaGraphLaunch(executable, be.stream()), cudaSuccess);
      const auto host = fetch<float>(be, arena, y);
      return std::vector<float>(host.begin(), host.end());
    };
    EXPECT_EQ(launched(), (std::vector<float>{12, 18, 16, 26}));
    be.scale(10, x, x);
    EXPECT_EQ(launched(), (std::vector<float>{30, 72, 70, 152}));
  }
}

TEST_F(CudaGraphs, AttentionByCudnnIsANode) {
  CudaBackend be(0);
  Arena arena(be.memory(), size_t{1} << 20);
  const test::Texts texts({5, 1, 0, 40, 3});
  const DeviceTexts on_device = upload_texts(be, arena, texts.batch());
  Operand qkv(be, DType::bf16, texts.tokens(), 0, 96), ctx(be, DType::bf16, texts.tokens(), 0, 32),
      lse(be, DType::f32, texts.tokens(), 0, 2);
  qkv.draw(1);
  const auto forward = [&] { be.attention_forward(on_device, qkv.used(), 2, {}, ctx.used(), lse.used()); };
  forward();
  const std::vector<float> expected = ctx.values();
  const int64_t executed = attention_double().executed;
  doubles::counts() = {};
  begin(be.stream());
  forward();
  const cudaGraphExec_t executable = end(be.stream());
  EXPECT_EQ(doubles::counts().nodes, 2) << "what says where texts lie, and the plan";
  EXPECT_EQ(attention_double().executed, executed);
  be.fill_zero(ctx.used());
  EXPECT_NE(ctx.values(), expected);
  EXPECT_EQ(cudaGraphLaunch(executable, be.stream()), cudaSuccess);
  EXPECT_EQ(ctx.values(), expected);
}

TEST_F(CudaGraphs, CopiesReadHostMemoryWithEveryLaunch) {
  void* pinned = nullptr;
  ASSERT_EQ(cudaMallocHost(&pinned, 16), cudaSuccess);
  auto* const host = static_cast<int64_t*>(pinned);
  begin();
  EXPECT_EQ(cudaMemcpyAsync(numbers_.at(0), host, 8, cudaMemcpyHostToDevice, stream_.handle), cudaSuccess);
  enqueue(7);
  EXPECT_EQ(cudaMemcpyAsync(host + 1, numbers_.at(0), 8, cudaMemcpyDeviceToHost, stream_.handle), cudaSuccess);
  const cudaGraphExec_t executable = end();
  for (const int64_t value : {3, 4}) {
    host[0] = value;
    launch(executable);
    wait();
    EXPECT_EQ(host[1], 10 * value + 7);
  }
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
  EXPECT_DEATH(launch(executable), "a graph whose memory was given back");
}

/// One of each: three kernels, a fill, three copies.
void enqueue_seven(cudaStream_t stream, const Numbers& numbers, void* pinned) {
  for (const int64_t digit : {1, 2, 3}) cuda::launch(append, 1, 32, 0, stream, numbers.at(0), digit);
  EXPECT_EQ(cudaMemsetAsync(numbers.at(1), 0, 8, stream), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(numbers.at(2), numbers.at(1), 8, cudaMemcpyDeviceToDevice, stream), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(pinned, numbers.at(1), 8, cudaMemcpyDeviceToHost, stream), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(numbers.at(3), pinned, 8, cudaMemcpyHostToDevice, stream), cudaSuccess);
}

TEST_F(CudaGraphs, WhatIsCapturedIsCountedAsNodesAndALaunchAsOne) {
  void* pinned = nullptr;
  ASSERT_EQ(cudaMallocHost(&pinned, 8), cudaSuccess);
  for (const Execution execution : {Execution::at_once, Execution::dropped}) {
    doubles::set_execution(execution);
    doubles::counts() = {};
    doubles::note_enqueued();
    begin();
    enqueue_seven(stream_.handle, numbers_, pinned);
    const doubles::Counts captured = doubles::counts();
    EXPECT_EQ(captured.launches() + captured.uploads + captured.downloads + captured.uploaded_bytes + captured.downloaded_bytes, 0);
    EXPECT_EQ(captured.nodes, 7);
    EXPECT_EQ(doubles::enqueued().size(), 0u);
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(stream_.handle, &graph), cudaSuccess);
    size_t nodes = 0;
    EXPECT_EQ(cudaGraphGetNodes(graph, nullptr, &nodes), cudaSuccess);
    EXPECT_EQ(nodes, 7u);
    EXPECT_EQ(cudaGraphInstantiateWithFlags(&executable, graph, 0), cudaSuccess);
    EXPECT_EQ(cudaGraphUpload(executable, stream_.handle), cudaSuccess);
    launch(executable);
    launch(executable);
    EXPECT_EQ(doubles::counts().graphs, 1);
    EXPECT_EQ(doubles::counts().graph_launches, 2);
    EXPECT_EQ(doubles::counts().launches(), 2);
    EXPECT_EQ(doubles::counts().nodes, 7);
    ASSERT_EQ(doubles::enqueued().size(), 2u);
    EXPECT_EQ(doubles::enqueued()[0].kind, doubles::Enqueued::Kind::work);
    wait();
    EXPECT_EQ(numbers_[0], 123'123) << "and dropped ones do nothing";
    enqueue_seven(stream_.handle, numbers_, pinned);
    EXPECT_EQ(doubles::counts().launches(), 7) << "outside of a capture they are counted as ever";
    EXPECT_EQ(doubles::counts().uploaded_bytes, 8);
    EXPECT_EQ(cudaMemsetAsync(numbers_.at(0), 0, 8, stream_.handle), cudaSuccess);
    wait();
    *numbers_.at(0) = 123'123;
  }
  EXPECT_EQ(cudaFreeHost(pinned), cudaSuccess);
}

TEST_F(CudaGraphs, WhatIsDroppedRunsInNoLaunch) {
  doubles::set_execution(Execution::dropped);
  begin();
  enqueue(1);
  EXPECT_EQ(cudaMemsetAsync(numbers_.at(1), 1, 8, stream_.handle), cudaSuccess);
  const cudaGraphExec_t executable = end();
  doubles::set_execution(Execution::at_once);
  launch(executable);
  EXPECT_EQ(numbers_[0], 0);
  EXPECT_EQ(numbers_[1], 0);
}

}  // namespace
}  // namespace lodestone
