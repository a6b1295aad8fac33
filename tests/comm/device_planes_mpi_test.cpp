// Do the verbs of a device plane give what the host's verbs give, whatever carries the tensors, beside operations that are enqueued before
// and behind them? On the debug backend tensors are staged through the host; on CUDA NCCL carries them as well.
#include <gtest/gtest.h>

#include <functional>

#include "comm/grad_sync.h"
#include "comm/nccl_library.h"
#include "comm/planes.h"
#include "comm/rows.h"
#include "tests/support/any_backend.h"
#include "tests/support/mpi_world.h"

namespace lodestone {
namespace {

using test::tensor_of, test::to_double, test::world, test::world_comm;

/// A backend on which every rank has its own GPU, where it has any.
std::unique_ptr<Backend> backend_of_rank() {
  if (test::device_asked_for() != "cuda") return test::any_backend("reference");
  ++test::device_backends_made();
  return make_backend({.kind = BackendKind::cuda, .gpu = world().local_rank()});
}

std::vector<Transport> transports() {
  if (test::device_asked_for() == "cuda") return {Transport::staged, Transport::nccl, Transport::automatic};
  return {Transport::staged, Transport::automatic};
}

/// Element i of rank r, a small integer: sums are exact.
double value(int rank, int64_t i) { return static_cast<double>((i * 7 + int64_t{rank} * 3) % 23); }

class DevicePlanes : public testing::TestWithParam<DType> {
 protected:
  /// Calls `test` with the device plane of each transport, whose tensors are of the dtype.
  void on_every_transport(const std::function<void(Communicator&)>& test) {
    for (const Transport transport : transports()) {
      SCOPED_TRACE(name_of(transport));
      const Planes planes(world_comm(), *backend_, transport, &world().watchdog());
      test(planes.group().device);
    }
  }
  Tensor made(int64_t n, const std::function<double(int64_t)>& element) {
    std::vector<double> values(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) values[static_cast<size_t>(i)] = element(i);
    return tensor_of(*backend_, arena_, values, {n}, GetParam());
  }
  Tensor own_values(int64_t n) {
    return made(n, [](int64_t i) { return value(world().rank(), i); });
  }
  std::vector<double> values(ConstTensor x) { return to_double(*backend_, arena_, x); }
  /// Some ranks have none.
  static std::vector<int64_t> uneven(int64_t base) {
    std::vector<int64_t> counts;
    for (int r = 0; r < world().size(); ++r) counts.push_back((base * (r + 2)) % 5 * 17);
    return counts;
  }

  const std::unique_ptr<Backend> backend_ = backend_of_rank();
  Arena arena_{backend_->memory(), size_t{16} << 20};
};

double sum_of_ranks(int64_t i) {
  double sum = 0;
  for (int r = 0; r < world().size(); ++r) sum += value(r, i);
  return sum;
}

TEST_P(DevicePlanes, SumsStandBetweenTheOperationsAroundThem) {
  on_every_transport([&](Communicator& plane) {
    for (const int64_t n : {1, 64, 4097}) {
      const Tensor x = own_values(n), sum = made(n, [](int64_t) { return -1.0; });
      backend_->scale(2.0, x, x);
      plane.all_reduce(x, sum, Reduce::sum).wait();
      backend_->scale(0.5, sum, sum);
      backend_->fill_zero(x);
      const std::vector<double> got = values(sum);
      for (int64_t i = 0; i < n; ++i) ASSERT_EQ(got[static_cast<size_t>(i)], sum_of_ranks(i)) << i << " of " << n;
    }
    const Tensor most = own_values(5);
    plane.all_reduce(most, most, Reduce::max).wait();
    const double last = value(world().size() - 1, 0);
    EXPECT_EQ(values(most)[0], std::max(last, value(0, 0)));
  });
}

TEST_P(DevicePlanes, GathersPartsOfAnySize) {
  on_every_transport([&](Communicator& plane) {
    for (const int64_t base : {1, 2, 3, 5}) {
      const std::vector<int64_t> counts = base == 5 ? std::vector<int64_t>(static_cast<size_t>(plane.size()), 33) : uneven(base);
      const int64_t own = counts[static_cast<size_t>(plane.rank())];
      std::vector<double> expected;
      int64_t begin = 0;
      for (int r = 0; r < plane.size(); ++r) {
        if (r == plane.rank()) begin = std::ssize(expected);
        for (int64_t i = 0; i < counts[static_cast<size_t>(r)]; ++i) expected.push_back(value(r, i));
      }
      const Tensor all = made(std::ssize(expected), [](int64_t) { return -1.0; });
      plane.all_gather(own_values(own), all, counts).wait();
      EXPECT_EQ(values(all), expected) << base;
      const Tensor again = made(std::ssize(expected), [](int64_t) { return -1.0; }), part = again.slice({begin, begin + own});
      backend_->copy(own_values(own), part);
      plane.all_gather(part, again, counts).wait();
      EXPECT_EQ(values(again), expected) << "in place, " << base;
    }
  });
}

TEST_P(DevicePlanes, ScattersSumsOfPartsOfAnySize) {
  on_every_transport([&](Communicator& plane) {
    for (const int64_t base : {1, 2, 3, 5}) {
      const std::vector<int64_t> counts = base == 5 ? std::vector<int64_t>(static_cast<size_t>(plane.size()), 33) : uneven(base);
      int64_t total = 0, begin = 0;
      for (int r = 0; r < plane.size(); ++r) {
        if (r == plane.rank()) begin = total;
        total += counts[static_cast<size_t>(r)];
      }
      const int64_t own = counts[static_cast<size_t>(plane.rank())];
      const Tensor sum = made(own, [](int64_t) { return -1.0; });
      plane.reduce_scatter(own_values(total), sum, counts).wait();
      const std::vector<double> got = values(sum);
      for (int64_t i = 0; i < own; ++i) ASSERT_EQ(got[static_cast<size_t>(i)], sum_of_ranks(begin + i)) << i << " of " << base;
    }
  });
}

TEST_P(DevicePlanes, PartsOfAGroupTalkAmongThemselves) {
  on_every_transport([&](Communicator& plane) {
    const auto part = plane.split(plane.rank() % 2);
    const Tensor x = made(3, [&](int64_t) { return plane.rank() + 1; });
    part->broadcast(x, 0).wait();
    EXPECT_EQ(values(x)[2], plane.rank() % 2 + 1) << "what the first of the part has";
    part->all_reduce(x, x, Reduce::sum).wait();
    EXPECT_EQ(values(x)[0], (plane.rank() % 2 + 1) * part->size());
    plane.barrier();
  });
}

TEST_P(DevicePlanes, ManyVerbsAreUnderWay) {
  on_every_transport([&](Communicator& plane) {
    std::vector<Tensor> sums;
    std::vector<Pending> verbs;
    for (int k = 0; k < 6; ++k) {
      sums.push_back(made(100, [&](int64_t i) { return value(plane.rank(), i + k); }));
      verbs.push_back(plane.all_reduce(sums.back(), sums.back(), Reduce::sum));
    }
    while (!verbs[5].test()) continue;
    for (int k = 0; k < 5; ++k) verbs[static_cast<size_t>(k)].wait();
    for (int k = 0; k < 6; ++k) EXPECT_EQ(values(sums[static_cast<size_t>(k)])[7], sum_of_ranks(7 + k)) << k;
  });
}

TEST_P(DevicePlanes, GradientsAreSummedAndSharedInPieces) {
  for (const Transport transport : transports()) {
    const Planes planes(world_comm(), *backend_, transport, &world().watchdog());
    for (const auto update : {GradSync::Update::everywhere, GradSync::Update::own_slice}) {
      GradSync sync(planes.group(), *backend_, 5000, GetParam(), {.piece_bytes = 4096, .update = update});
      for (int step = 0; step < 2; ++step) {
        const Tensor grads = own_values(5000);
        sync.begin(grads);
        for (int64_t end = 5000; end > 0; end -= 1250) sync.ready({end - 1250, end});
        const Slice own = sync.finish(grads);
        const std::vector<double> got = values(grads.slice(own));
        for (int64_t i = own.begin; i < own.end; ++i)
          ASSERT_EQ(got[static_cast<size_t>(i - own.begin)], sum_of_ranks(i)) << i << ' ' << name_of(transport);
      }
    }
  }
}

// Verbs in a stream keep an event each, but no more than 64: an older one is waited for by a later one's.
TEST_P(DevicePlanes, MoreVerbsThanHaveEventsAreUnderWay) {
  on_every_transport([&](Communicator& plane) {
    if (!plane.in_stream()) return;
    const std::vector<int64_t> counts(static_cast<size_t>(plane.size()), 2);
    const int64_t all = 2 * plane.size();
    std::vector<Tensor> results;
    std::vector<Pending> verbs;
    for (int k = 0; k < 100; ++k) {
      const Tensor x = made(all, [&](int64_t i) { return value(plane.rank(), i + k); });
      results.push_back(k % 2 == 0 ? x : x.slice({2 * plane.rank(), 2 * plane.rank() + 2}));
      verbs.push_back(k % 2 == 0 ? plane.all_reduce(x, x, Reduce::sum) : plane.reduce_scatter(x, results.back(), counts));
    }
    const auto expect_sums = [&](int k) {
      const int64_t first = k % 2 == 0 ? 0 : 2 * plane.rank();
      EXPECT_EQ(values(results[static_cast<size_t>(k)])[1], sum_of_ranks(first + 1 + k)) << "verb " << k;
    };
    for (const int k : {0, 1, 70, 99}) {
      verbs[static_cast<size_t>(k)].wait();
      expect_sums(k);
    }
    while (!verbs[20].test()) continue;
    for (int k = 0; k < 100; ++k) expect_sums(k);
  });
}

TEST_P(DevicePlanes, AScatterIntoItsInputIsRefusedElsewhereThanAtItsPart) {
  on_every_transport([&](Communicator& plane) {
    const int64_t last = plane.size() - 1, own = plane.rank() == last ? 5 : 3;
    std::vector<int64_t> counts(static_cast<size_t>(plane.size()), 3);
    counts.back() = 5;
    const Tensor room = own_values(3 * last + 5 + 2), x = room.slice({1, 3 * last + 6});
    const int64_t begin = 1 + 3 * plane.rank();  // of its part, in `room`
    const auto scatter = [&](ConstTensor in, Slice out) { plane.reduce_scatter(in, room.slice(out), counts).wait(); };
    EXPECT_THROW(scatter(x, {begin - 1, begin - 1 + own}), Error) << "an element before it";
    EXPECT_THROW(scatter(x, {begin + 1, begin + 1 + own}), Error) << "an element behind it";
    EXPECT_THROW(scatter(x, {begin, begin + own - 1}), Error) << "too short";
    EXPECT_THROW(scatter(x, {begin, begin + own + 1}), Error) << "too long";
    EXPECT_THROW(scatter(room, {begin, begin + own}), Error) << "an input that is longer than all parts";
    const auto in_place = [&] { scatter(x, {begin, begin + own}); };
    if (plane.in_stream()) {
      in_place();
    } else {
      EXPECT_THROW(in_place(), Error) << "staged, nothing is scattered into its input";
    }
    const std::vector<double> got = values(room.slice({begin, begin + own}));
    for (int64_t i = 0; i < own; ++i)
      EXPECT_EQ(got[static_cast<size_t>(i)], plane.in_stream() ? sum_of_ranks(begin + i) : value(plane.rank(), begin + i)) << i;
  });
}

/// With nine ranks and more a part that arrives is that of several: at most eight are gathered.
TEST_P(DevicePlanes, ParametersOfEveryRankArriveOnAll) {
  ParamLayout layout;
  for (const int64_t n : {40, 7, 333, 1, 128}) layout.add(cat("p", n), {n}, Decay::yes);
  for (const Transport transport : transports()) {
    const Planes planes(world_comm(), *backend_, transport, &world().watchdog());
    for (const DType compute : {GetParam(), GetParam() == DType::f32 ? DType::bf16 : GetParam()}) {
      ParamStore params(backend_->memory(), layout, compute);
      const GradSync::Options options{.update = GradSync::Update::own_slice};
      GradSync sync(planes.group(), *backend_, layout.count(), GetParam(), options);
      for (int round = 0; round < 3; ++round) {
        const auto updated = [&](int64_t i) { return value(round, i) + round; };
        const Slice own = sync.own();
        backend_->copy(made(own.count(), [&](int64_t i) { return updated(own.begin + i); }), params.masters().slice(own));
        sync.share(params);
        if (!sync.sharded()) params.refresh(*backend_);  // a world of one
        for (const Param& p : layout.params()) {
          const std::vector<double> masters = values(params.master(p)), rounded = values(params.compute(p));
          for (int64_t i = 0; i < p.slice.count(); ++i) {
            ASSERT_EQ(masters[static_cast<size_t>(i)], updated(p.slice.begin + i)) << p.name << ", round " << round << ", element " << i;
            ASSERT_EQ(rounded[static_cast<size_t>(i)], updated(p.slice.begin + i)) << p.name << ", rounded";
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Numbers, DevicePlanes, testing::Values(DType::f32, DType::f64),
                         [](const auto& info) { return std::string(name_of(info.param)); });

TEST(Nccl, RanksThatShareAGpuAreRefused) {
  if (test::device_asked_for() != "cuda" || world().size() == 1) GTEST_SKIP() << "needs several ranks on CUDA";
  const auto backend = test::any_backend("reference");
  const std::string why = nccl_library().why_not(world_comm(), *backend);
  EXPECT_EQ(why.find("ranks 0 and 1 share GPU 0000:01:00.0 of "), 0u) << why;
  const Planes planes(world_comm(), *backend, Transport::automatic);
  EXPECT_EQ(planes.transport(), cat("staged through the host (", why, ")"));
  EXPECT_THROW(Planes(world_comm(), *backend, Transport::nccl), Error);
}

}  // namespace
}  // namespace lodestone
