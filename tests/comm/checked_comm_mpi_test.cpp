// Every kind of mismatch between ranks is refused before data moves, and the message names who calls what.
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "comm/checked_comm.h"
#include "comm/staged_comm.h"
#include "core/cpu/reference/reference_backend.h"
#include "core/debug/debug_backend.h"
#include "tests/support/mpi_world.h"

namespace lodestone {
namespace {

using test::world_comm;

TEST(CheckedComm, PassesWhatAgrees) {
  const auto comm = make_checked_comm(world_comm().split(0));
  std::vector<float> v{1, 2, 3};
  const Tensor t = view(std::span(v));
  comm->all_reduce(t, t, Reduce::sum).wait();
  const auto ranks = static_cast<float>(comm->size());
  EXPECT_EQ(v, (std::vector<float>{ranks, 2 * ranks, 3 * ranks}));
  comm->broadcast(t, 0).wait();
  comm->barrier();
  std::vector<int64_t> counts, values(static_cast<size_t>(comm->rank() + 1), comm->rank());
  int64_t total = 0;
  for (int r = 0; r < comm->size(); ++r) total += counts.emplace_back(r + 1);
  std::vector<int64_t> all(static_cast<size_t>(total)), back(values.size());
  comm->all_gather(view(std::span(values)), view(std::span(all)), counts).wait();
  EXPECT_EQ(all.back(), comm->size() - 1);
  comm->reduce_scatter(view(std::span(all)), view(std::span(back)), counts).wait();
  EXPECT_EQ(back[0], comm->rank() * comm->size());
  comm->split(comm->rank() % 2)->barrier();
}

TEST(CheckedComm, ComparesCallsOfADevicePlaneOverAHostPlane) {
  DebugBackend backend(std::make_unique<ReferenceBackend>());
  Arena arena(backend.memory(), size_t{1} << 20);
  const auto comm = make_checked_comm(std::make_unique<StagedComm>(world_comm().split(0), backend), world_comm().split(0));
  const auto scope = arena.scope();
  const std::vector<double> own{1, 2, 3};
  const Tensor x = arena.tensor(DType::f64, {3});
  backend.upload(view(std::span(own)), x);
  comm->all_reduce(x, x, Reduce::sum).wait();
  EXPECT_EQ(fetch<double>(backend, arena, x)[2], 3 * comm->size());
  const auto part = comm->split(comm->rank() % 2);
  part->broadcast(x, 0).wait();
  if (comm->size() == 1) return;
  const int root = comm->rank() == 0 ? 0 : 1;
  EXPECT_THROW(comm->broadcast(x, root).wait(), Error);
}

TEST(CheckedComm, NamesTheRanksThatDiffer) {
  if (world_comm().size() == 1) GTEST_SKIP() << "one rank cannot differ";
  std::vector<float> v(8);
  std::vector<double> d(8);
  const Tensor t = view(std::span(v)), u = view(std::span(d));
  const std::vector<int64_t> counts(static_cast<size_t>(world_comm().size()), 2);
  using Act = std::function<void(Communicator&)>;
  struct Case {
    Act usual, other;  // what the ranks call, and what the last one calls
    const char* usual_text;
    const char* other_text;
  };
  const Act sum = [&](Communicator& c) { c.all_reduce(t, t, Reduce::sum).wait(); };
  const Act root0 = [&](Communicator& c) { c.broadcast(t, 0).wait(); };
  const std::vector<Case> cases{
      {sum, [&](Communicator& c) { c.all_reduce(t, t, Reduce::max).wait(); }, "all_reduce sum of 8 f32", "all_reduce max of 8 f32"},
      {sum, [&](Communicator& c) { c.all_reduce(u, u, Reduce::sum).wait(); }, "all_reduce sum of 8 f32", "all_reduce sum of 8 f64"},
      {sum,
       [&](Communicator& c) {
         c.all_reduce(t.slice({0, 7}), t.slice({0, 7}), Reduce::sum).wait();
       },
       "of 8 f32", "of 7 f32"},
      {sum, [](Communicator& c) { c.barrier(); }, "all_reduce sum of 8 f32", "barrier"},
      {root0, [&](Communicator& c) { c.broadcast(t, 1).wait(); }, "from root 0", "from root 1"},
      {root0,
       [&](Communicator& c) {
         c.broadcast(t.slice({0, 3}), 0).wait();
       },
       "broadcast of 8 f32", "broadcast of 3 f32"},
      {sum, [](Communicator& c) { c.split(0)->barrier(); }, "all_reduce", "split"},
      {[](Communicator& c) { c.barrier(); },
       [&](Communicator& c) {
         std::vector<float> all(2 * static_cast<size_t>(c.size()));
         c.all_gather(t.slice({0, 2}), view(std::span(all)), counts).wait();
       },
       "barrier", "all_gather"},
  };
  const int last = world_comm().size() - 1;
  for (const Case& k : cases) {
    const auto comm = make_checked_comm(world_comm().split(0));
    try {
      (comm->rank() == last ? k.other : k.usual)(*comm);
      FAIL() << "not refused: " << k.usual_text << " against " << k.other_text;
    } catch (const Error& e) {
      const std::string what = e.what();
      EXPECT_EQ(e.code(), "F08");
      EXPECT_NE(what.find(cat("rank ", last, " ")), std::string::npos) << what;
      EXPECT_NE(what.find(k.usual_text), std::string::npos) << what;
      EXPECT_NE(what.find(k.other_text), std::string::npos) << what;
    }
  }
}

TEST(CheckedComm, OrderCountsBecauseCallsAreNumbered) {
  if (world_comm().size() == 1) GTEST_SKIP() << "one rank cannot differ";
  const auto comm = make_checked_comm(world_comm().split(0));
  std::vector<float> a(4), b(5);
  const Tensor first = view(std::span(comm->rank() == 0 ? a : b));
  EXPECT_THROW(comm->all_reduce(first, first, Reduce::sum).wait(), Error);
}

}  // namespace
}  // namespace lodestone
