// A world of one: verbs copy, waits return, and started alone the World needs no MPI.
#include <gtest/gtest.h>

#include <cstdlib>
#include <numeric>
#include <vector>

#include "comm/world.h"

namespace lodestone {
namespace {

std::vector<float> counting(size_t n) {
  std::vector<float> v(n);
  std::iota(v.begin(), v.end(), 1.0f);
  return v;
}

TEST(SelfComm, VerbsCopyTheirInput) {
  const auto comm = make_self_comm();
  EXPECT_EQ(comm->rank(), 0);
  EXPECT_EQ(comm->size(), 1);
  for (const size_t n : {size_t{0}, size_t{1}, size_t{7}}) {
    const std::vector<float> in = counting(n);
    const std::vector<int64_t> counts{static_cast<int64_t>(n)};
    std::vector<float> out(n, -1.0f);
    comm->all_reduce(view(std::span(in)), view(std::span(out)), Reduce::sum).wait();
    EXPECT_EQ(out, in);
    out.assign(n, -1.0f);
    comm->all_gather(view(std::span(in)), view(std::span(out)), counts).wait();
    EXPECT_EQ(out, in);
    out.assign(n, -1.0f);
    comm->reduce_scatter(view(std::span(in)), view(std::span(out)), counts).wait();
    EXPECT_EQ(out, in);
    comm->broadcast(view(std::span(out)), 0).wait();
    EXPECT_EQ(out, in);
  }
  comm->barrier();
}

TEST(SelfComm, InPlaceLeavesValuesAlone) {
  const auto comm = make_self_comm();
  std::vector<float> values = counting(5);
  Pending p = comm->all_reduce(view(std::span<const float>(values)), view(std::span(values)), Reduce::max);
  EXPECT_TRUE(p.test());
  p.wait();
  EXPECT_EQ(values, counting(5));
}

TEST(SelfComm, ScalarsAndTextStayTheSame) {
  const auto comm = make_self_comm();
  std::vector<double> values{1.5, -2.0};
  all_reduce(*comm, std::span(values), Reduce::sum);
  EXPECT_EQ(values, (std::vector<double>{1.5, -2.0}));
  std::string text = "resolved config";
  broadcast(*comm, text, 0);
  EXPECT_EQ(text, "resolved config");
}

TEST(SelfComm, RefusesShapesThatDoNotMatch) {
  const auto comm = make_self_comm();
  std::vector<float> in = counting(3), out(4);
  EXPECT_THROW(comm->all_reduce(view(std::span(in)), view(std::span(out)), Reduce::sum).wait(), Error);
}

// So that what goes wrong on several ranks goes wrong on one.
TEST(SelfComm, RefusesWhatSeveralRanksRefuse) {
  const auto comm = make_self_comm();
  std::vector<float> in = counting(3), out(3);
  std::vector<bfloat16> halves(3), sums(3);
  const Tensor x = view(std::span(in)), y = view(std::span(out)), h = view(std::span(halves)), s = view(std::span(sums));
  const std::vector<int64_t> three{3}, two_ranks{3, 0};
  EXPECT_THROW(comm->all_reduce(h, s, Reduce::sum).wait(), Error) << "bf16 is not summed";
  EXPECT_THROW(comm->reduce_scatter(h, s, three).wait(), Error) << "bf16 is not summed";
  EXPECT_NO_THROW(comm->all_gather(h, s, three).wait()) << "but moved";
  EXPECT_THROW(comm->all_gather(x, y, two_ranks).wait(), Error) << "there is one rank";
  EXPECT_THROW(comm->reduce_scatter(x, y, two_ranks).wait(), Error) << "there is one rank";
  EXPECT_THROW(comm->reduce_scatter(x, x, three).wait(), Error) << "input and output overlap";
  EXPECT_THROW(comm->broadcast(x, 1).wait(), Error) << "there is one rank";
}

TEST(SelfComm, SplitIsAWorldOfOne) { EXPECT_EQ(make_self_comm()->split(3)->size(), 1); }

TEST(World, StartedAloneIsTheOnlyRank) {
  int argc = 0;
  char** argv = nullptr;
  World world(argc, argv);
  EXPECT_EQ(world.rank(), 0);
  EXPECT_EQ(world.size(), 1);
  EXPECT_EQ(world.local_rank(), 0);
  EXPECT_EQ(world.local_size(), 1);
  EXPECT_FALSE(world.host().empty());
  EXPECT_EQ(world.comm().size(), 1);
}

TEST(World, RefusesCopiesThatSrunStartedWithoutMpi) {
  setenv("SLURM_STEP_NUM_TASKS", "4", 1);
  int argc = 0;
  char** argv = nullptr;
  try {
    World world(argc, argv);
    ADD_FAILURE() << "not refused";
  } catch (const Error& e) {
    EXPECT_EQ(e.exit_code(), ExitCode::usage);
    EXPECT_NE(e.remedy().find("--mpi=pmix"), std::string::npos);
  }
  unsetenv("SLURM_STEP_NUM_TASKS");
}

TEST(World, NamesTheMpiLibrary) { EXPECT_EQ(World::library_version().rfind("Open MPI 4", 0), 0u) << World::library_version(); }

}  // namespace
}  // namespace lodestone
