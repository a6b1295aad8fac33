// Do both planes of a device wait for it as often as they must, bring what it computed, and say how often?
#include "comm/staged_comm.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>

#include "tests/support/debug_rig.h"

namespace lodestone {
namespace {

using test::demand_finite, test::message_of, test::Rig;

TEST(StagedComm, MovesWhatWasEnqueuedBefore) {
  Rig<> device;
  StagedComm comm(make_self_comm(), device.backend);
  const Tensor x = device.holding({1, 2, 3}), sum = device.holding({0, 0, 0}), gathered = device.holding({0, 0, 0}),
               part = device.holding({0, 0, 0});
  const std::array<int64_t, 1> counts{3};
  device.backend.scale(2.0, x, x);
  comm.all_reduce(x, sum, Reduce::sum).wait();
  comm.all_gather(x, gathered, counts).wait();
  comm.reduce_scatter(x, part, counts).wait();
  comm.broadcast(x, 0).wait();
  device.backend.scale(2.0, sum, sum);
  EXPECT_EQ(device.values(sum), (std::vector<double>{4, 8, 12}));
  for (const Tensor& moved : {x, gathered, part}) EXPECT_EQ(device.values(moved), (std::vector<double>{2, 4, 6}));
  EXPECT_EQ(comm.waits(), 4);
  EXPECT_EQ(comm.downloads(), 4);
  comm.split(0)->all_reduce(x, x, Reduce::sum).wait();
  EXPECT_EQ(comm.waits(), 6) << "one that was split off counts here, with its end";
  EXPECT_EQ(comm.downloads(), 5);
  const Tensor none = x.slice({0, 0});
  comm.all_reduce(none, none, Reduce::sum).wait();
  comm.barrier();
  EXPECT_EQ(comm.waits(), 8);
  EXPECT_EQ(comm.downloads(), 5) << "an empty tensor is not downloaded, nor is anything at a barrier";
  std::vector<double> host(3);
  EXPECT_EQ(message_of([&] { comm.broadcast(view(std::span(host)), 0).wait(); }), "broadcast: f64 [3] does not lie on the device");
}

TEST(StagedComm, HasManyVerbsUnderWay) {
  Rig<> device;
  StagedComm comm(make_self_comm(), device.backend);
  for (const double factor : {1.0, 10.0}) {
    std::vector<Tensor> sums;
    std::vector<Pending> pending;
    for (int i = 0; i < 20; ++i) {
      sums.push_back(device.holding({0, 0}));
      pending.push_back(comm.all_reduce(device.holding({factor * i, factor}), sums.back(), Reduce::sum));
    }
    for (size_t i = pending.size(); i-- > 0;) EXPECT_TRUE(pending[i].test());
    for (size_t i = 0; i < sums.size(); ++i)
      EXPECT_EQ(device.values(sums[i]), (std::vector<double>{factor * static_cast<double>(i), factor}));
  }
}

TEST(DrainingComm, BeginsWhenTheBackendIsDone) {
  Rig<> device;
  const auto host = make_self_comm();
  DrainingComm comm(*host, device.backend);
  const auto scope = device.arena.scope();
  const ConstTensor total = device.backend.download(device.holding({5}), device.arena);
  comm.barrier();
  EXPECT_EQ(total.host<double>()[0], 5.0);
  double value = 1;
  all_reduce(*comm.split(0), std::span<double>(&value, 1), Reduce::sum);
  EXPECT_EQ(comm.waits(), 3);
}

/// wait_for() was forgotten.
class ForgetfulBackend final : public DebugBackend {
 public:
  using DebugBackend::DebugBackend;
  void wait_for(Event) override {}
};

template <class B>
void sum_over_ranks() {
  Rig<B> device;
  StagedComm comm(make_self_comm(), device.backend);
  const Tensor x = device.holding({3, 4});
  comm.all_reduce(x, x, Reduce::sum).wait();
  demand_finite(device.values(x)[0]);
  _exit(0);
}

TEST(StagedCommDeathTest, AMissingWaitSpoilsTheSumOverRanks) {
  EXPECT_EXIT(sum_over_ranks<DebugBackend>(), testing::ExitedWithCode(0), "");
  EXPECT_DEATH(sum_over_ranks<ForgetfulBackend>(), "the total is not finite");
}

}  // namespace
}  // namespace lodestone
