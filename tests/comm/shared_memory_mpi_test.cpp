// Ranks of one host see each other's bytes; memory that the host has not got is refused on all ranks alike.
#include <gtest/gtest.h>
#include <sys/statvfs.h>

#include "comm/grad_sync.h"
#include "comm/mpi_segments.h"
#include "comm/reduce_bench.h"
#include "comm/shared_memory.h"
#include "comm/status_board.h"
#include "tests/support/host_memory.h"
#include "tests/support/mpi_world.h"

namespace lodestone {
namespace {

using test::world_comm;

TEST(SharedMemory, EveryRankSeesWhatTheOthersWrote) {
  Communicator& comm = world_comm();
  const auto memory = SharedMemory::make(comm, 100);
  ASSERT_NE(memory, nullptr);
  EXPECT_GE(memory->segment_bytes(), 100u);
  for (size_t i = 0; i < 100; ++i) {
    ASSERT_EQ(memory->segment(comm.rank())[i], std::byte{0});
    memory->segment(comm.rank())[i] = static_cast<std::byte>(comm.rank() + 1);
  }
  comm.barrier();
  for (int r = 0; r < comm.size(); ++r) EXPECT_EQ(memory->segment(r)[99], static_cast<std::byte>(r + 1));
}

TEST(SharedMemory, TellsWhichRanksStillHaveIt) {
  Communicator& comm = world_comm();
  auto memory = SharedMemory::make(comm, 100);
  ASSERT_NE(memory, nullptr);
  const int next = (comm.rank() + 1) % comm.size();
  if (comm.size() > 1) {
    EXPECT_TRUE(memory->held(next));
  }
  comm.barrier();
  if (comm.rank() == 0) memory.reset();
  comm.barrier();
  if (memory != nullptr) {
    EXPECT_EQ(memory->held(next), next != 0);
  }
  comm.barrier();  // until here the others have theirs
}

TEST(StatusBoard, ARankThatEndsWithoutAWordIsLostToTheOneBeforeIt) {
  Communicator& comm = world_comm();
  const int last = comm.size() - 1;
  auto board = StatusBoard::make(comm, comm.rank());
  ASSERT_NE(board, nullptr);
  EXPECT_EQ(board->lost(), std::nullopt);
  comm.barrier();
  if (comm.rank() == last) board->leave();
  if (comm.rank() == last || comm.rank() == 1) board.reset();  // the second one, where it is not the last, without a word
  comm.barrier();
  const std::optional<int> lost = comm.rank() == 0 && last > 1 ? std::optional(1) : std::nullopt;
  if (board != nullptr) {
    EXPECT_EQ(board->lost(), lost);
  }
  comm.barrier();
}

TEST(MpiSegments, HaveNoNameWhileAJobRuns) {
  EXPECT_EQ(MpiSegments::of_this_process().count(), 0u);  // mapped files that have one
}

TEST(SharedMemory, TooMuchIsRefusedOnAllRanksAndGradientsGoThroughTheCommunicator) {
  Communicator& comm = world_comm();
  struct statvfs file_system {};
  if (statvfs("/dev/shm", &file_system) != 0 || file_system.f_blocks == 0) GTEST_SKIP() << "/dev/shm has no limit here";
  if (comm.size() == 1) GTEST_SKIP() << "a world of one sends nothing";
  const auto far_too_much = static_cast<int64_t>(file_system.f_blocks * file_system.f_frsize) * 2;
  EXPECT_EQ(SharedMemory::make(comm, static_cast<size_t>(far_too_much)), nullptr);
  GradSync sync(comm, test::host_backend, 1000, DType::f32, {.piece_bytes = far_too_much});
  EXPECT_STREQ(sync.route_name(), "communicator");
  std::vector<float> grads(1000, 1.0f);
  sync.finish(view(std::span(grads)));
  EXPECT_EQ(grads, std::vector<float>(1000, static_cast<float>(comm.size())));
  EXPECT_THROW(GradSync(comm, test::host_backend, 1000, DType::f32, {.piece_bytes = far_too_much, .route = GradSync::Route::shared_memory}),
               Error);
}

TEST(ReduceBench, MeasuresEveryWay) {
  const std::vector<int64_t> pieces{1 << 16};
  const ReduceBench bench = measure_reduce(world_comm(), test::host_backend, 1 << 20, 3, pieces);
  EXPECT_EQ(bench.ranks, world_comm().size());
  ASSERT_EQ(bench.ways.size(), world_comm().size() == 1 ? 0u : 3u);
  for (const ReduceTiming& way : bench.ways) {
    EXPECT_GT(way.fastest_s, 0) << way.name;
    EXPECT_LE(way.fastest_s, way.median_s);
    EXPECT_LE(way.median_s, way.slowest_s);
  }
}

}  // namespace
}  // namespace lodestone
