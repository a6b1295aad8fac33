// Do NCCL's double and the program's sums by it end the process where a stream captures, instead of being recorded by halves?
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>
#include <nccl.h>

#include "comm/planes.h"
#include "core/buffer.h"
#include "core/cuda/cuda_backend.h"
#include "core/cuda/stream.h"
#include "tests/support/mpi_world.h"

namespace lodestone::test {
namespace {

/// Asks until what was begun is there.
void wait_for(ncclComm_t comm) {
  for (ncclResult_t result = ncclInProgress; result == ncclInProgress;) ASSERT_EQ(ncclCommGetAsyncError(comm, &result), ncclSuccess);
}

TEST(CudaCaptures, TakeNoVerbOfNccl) {
  const cuda::Stream stream;
  ncclUniqueId id{};
  ncclComm_t comm = nullptr;
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  ASSERT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  ASSERT_EQ(ncclCommInitRankConfig(&comm, 1, id, 0, &config), ncclInProgress);
  wait_for(comm);
  void* memory = nullptr;
  ASSERT_EQ(cudaMalloc(&memory, 64), cudaSuccess);
  const auto sum = [&] { return ncclAllReduce(memory, memory, 4, ncclFloat32, ncclSum, comm, stream.handle); };
  ASSERT_EQ(cudaStreamBeginCapture(stream.handle, cudaStreamCaptureModeRelaxed), cudaSuccess);
  EXPECT_DEATH(sum(), "a verb in a stream that captures");
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(stream.handle, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphDestroy(graph), cudaSuccess);
  EXPECT_EQ(sum(), ncclInProgress);
  wait_for(comm);
  ASSERT_EQ(cudaStreamSynchronize(stream.handle), cudaSuccess);
  ASSERT_EQ(ncclCommFinalize(comm), ncclInProgress);
  wait_for(comm);
  EXPECT_EQ(ncclCommDestroy(comm), ncclSuccess);
  cudaFree(memory);
}

TEST(CudaCaptures, TakeNoVerbThatStandsBehindTheirWork) {
  if (world().size() == 1) GTEST_SKIP() << "a world of one sums nothing";
  CudaBackend be(world().local_rank(), AttentionChoice::own);
  const Planes planes(world_comm(), be, Transport::nccl, &world().watchdog());
  const Buffer memory(be.memory(), 64);
  const Tensor x = memory.tensor(DType::f32, {4});
  const auto sum = [&] { planes.group().device.all_reduce(x, x, Reduce::sum).wait(); };
  sum();
  be.synchronize();
  ASSERT_EQ(cudaStreamBeginCapture(be.stream(), cudaStreamCaptureModeRelaxed), cudaSuccess);
  EXPECT_DEATH(sum(), "a stream that joins the capture of another one");
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(cudaStreamEndCapture(be.stream(), &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphDestroy(graph), cudaSuccess);
}

}  // namespace
}  // namespace lodestone::test
