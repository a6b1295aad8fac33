// The gradient sum with Update::own_slice: shares, sums, norm, and parameters brought together.
#include <gtest/gtest.h>

#include <cmath>

#include "comm/grad_sync.h"
#include "launch/console/allocations.h"
#include "tests/support/gradient_norm.h"
#include "tests/support/host_memory.h"
#include "tests/support/mpi_world.h"

namespace lodestone {
namespace {

using test::gradient_norm;
using test::world_comm;
using Route = GradSync::Route;
using Update = GradSync::Update;

const std::vector<Route> routes{Route::shared_memory, Route::communicator};

template <class T>
std::vector<T> integers(int64_t n, int rank, int step) {
  std::vector<T> v(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) v[static_cast<size_t>(i)] = static_cast<T>((i * 11 + rank * 5 + step * 3) % 31 - 15);
  return v;
}

template <class T>
std::vector<T> plain_sum(std::vector<T> v) {
  const Tensor t = view(std::span(v));
  world_comm().all_reduce(t, t, Reduce::sum).wait();
  return v;
}

template <class T>
class ZeroOf : public ::testing::Test {};
using Floats = ::testing::Types<float, double>;
TYPED_TEST_SUITE(ZeroOf, Floats);

TYPED_TEST(ZeroOf, SharesCoverTheVectorOnceInRankOrder) {
  using T = TypeParam;
  for (const int64_t n : {0, 1, 15, 16, 17, 1024, 100'003}) {
    const GradSync sync(world_comm(), test::host_backend, n, dtype_of<T>, {.update = Update::own_slice});
    int64_t own[] = {sync.own().begin, sync.own().end};
    std::vector<int64_t> all(static_cast<size_t>(world_comm().size()) * 2);
    world_comm().all_gather(view(std::span<int64_t>(own)), view(std::span(all)), std::vector<int64_t>(all.size() / 2, 2)).wait();
    int64_t next = 0;
    for (size_t r = 0; r < all.size(); r += 2) {
      EXPECT_EQ(all[r], next);
      EXPECT_LE(all[r + 1] - all[r], n / world_comm().size() + 16) << "shares differ by more than a cache line";
      next = all[r + 1];
    }
    EXPECT_EQ(next, n);
  }
}

TYPED_TEST(ZeroOf, EveryRankGetsTheSumOfItsOwnShareOverManySteps) {
  using T = TypeParam;
  for (const Route route : routes)
    for (const int64_t n : {0, 1, 7, 1024, 100'003})
      for (const int64_t piece_bytes : {64, 4096, 1 << 20}) {
        if (n / piece_bytes > 1000) continue;
        GradSync sync(world_comm(), test::host_backend, n, dtype_of<T>,
                      {.piece_bytes = piece_bytes, .route = route, .update = Update::own_slice});
        for (int step = 0; step < 3; ++step) {
          std::vector<T> grads = integers<T>(n, world_comm().rank(), step);
          const std::vector<T> expected = plain_sum(grads);
          const Tensor g = view(std::span(grads));
          sync.begin(g);
          if (step != 1)
            for (int64_t part = 5; part > 0; --part) sync.ready({n * (part - 1) / 5, n * part / 5});
          const Slice own = sync.finish(g);
          EXPECT_EQ(own, sync.own());
          for (int64_t i = own.begin; i < own.end; ++i)
            ASSERT_EQ(grads[static_cast<size_t>(i)], expected[static_cast<size_t>(i)])
                << sync.route_name() << ", element " << i << " of " << n << " in pieces of " << piece_bytes << ", step " << step;
        }
      }
}

TYPED_TEST(ZeroOf, HostsSumAmongThemselvesFirst) {
  using T = TypeParam;
  const auto host = world_comm().split(world_comm().rank() / 2);  // pairs of ranks play hosts
  const int64_t n = 40'007;
  GradSync sync(world_comm(), test::host_backend, n, dtype_of<T>, {.piece_bytes = 4096, .update = Update::own_slice, .host = host.get()});
  if (world_comm().size() == 4) {
    EXPECT_STREQ(sync.route_name(), "shared memory, hosts by communicator");
  }
  for (int step = 0; step < 4; ++step) {
    std::vector<T> grads = integers<T>(n, world_comm().rank(), step);
    const std::vector<T> expected = plain_sum(grads);
    const Slice own = sync.finish(view(std::span(grads)));
    for (int64_t i = own.begin; i < own.end; ++i) ASSERT_EQ(grads[static_cast<size_t>(i)], expected[static_cast<size_t>(i)]) << i;
  }
}

TYPED_TEST(ZeroOf, SharedMemoryGivesTheBitsOfTheUnshardedSum) {
  using T = TypeParam;
  const int64_t n = 50'021;
  std::vector<T> whole(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i)
    whole[static_cast<size_t>(i)] = static_cast<T>(std::sin(static_cast<double>(i * 7 + world_comm().rank() * 13)));
  std::vector<T> part = whole;
  GradSync everywhere(world_comm(), test::host_backend, n, dtype_of<T>, {.piece_bytes = 8192, .route = Route::shared_memory});
  GradSync sharded(world_comm(), test::host_backend, n, dtype_of<T>,
                   {.piece_bytes = 8192, .route = Route::shared_memory, .update = Update::own_slice});
  everywhere.finish(view(std::span(whole)));
  const Slice own = sharded.finish(view(std::span(part)));
  for (int64_t i = own.begin; i < own.end; ++i) ASSERT_EQ(part[static_cast<size_t>(i)], whole[static_cast<size_t>(i)]) << i;
}

TEST(Zero, TheNormIsThatOfTheWholeGradientAndEqualOnAllRanks) {
  for (const Route route : routes) {
    std::vector<double> grads = integers<double>(1003, world_comm().rank(), 1);
    double squares = 0;
    for (const double g : plain_sum(grads)) squares += g * g;  // integers: exact
    GradSync sync(world_comm(), test::host_backend, 1003, DType::f64, {.route = route, .update = Update::own_slice});
    const Tensor g = view(std::span(grads));
    sync.finish(g);
    EXPECT_EQ(gradient_norm(sync, world_comm(), test::host_backend, g), std::sqrt(squares));
    std::vector<double> infinite(1003);
    if (world_comm().rank() == 0) infinite.back() = HUGE_VAL;  // seen by all, whoever updates that element
    const Tensor h = view(std::span(infinite));
    sync.finish(h);
    EXPECT_FALSE(std::isfinite(gradient_norm(sync, world_comm(), test::host_backend, h)));
  }
}

TEST(Zero, SharingBringsEveryRanksPartToAll) {
  const auto backend = make_backend({.kind = BackendKind::reference});
  for (const DType compute : {DType::f32, DType::bf16}) {
    ParamLayout layout;
    layout.add("w", {1001}, Decay::yes);
    ParamStore params(backend->memory(), layout, compute);
    GradSync sync(world_comm(), *backend, 1001, DType::f32, {.update = Update::own_slice});
    const auto p = params.masters().host<float>();
    for (int64_t i = sync.own().begin; i < sync.own().end; ++i) p[static_cast<size_t>(i)] = 1.0f / static_cast<float>(i + 1);
    sync.share(params);
    if (world_comm().size() == 1) params.refresh(*backend);
    for (size_t i = 0; i < 1001; ++i) ASSERT_EQ(p[i], 1.0f / static_cast<float>(i + 1)) << i;
    std::vector<float> rounded(1001);
    backend->cast(params.compute({0, 1001}, {1001}), view(std::span(rounded)));
    for (size_t i = 0; i < 1001; ++i) ASSERT_EQ(rounded[i], compute == DType::bf16 ? static_cast<float>(bfloat16(p[i])) : p[i]) << i;
  }
}

TEST(Zero, AllocatesNothingOnceWarm) {
  const auto backend = make_backend({.kind = BackendKind::reference});
  const int64_t n = 100'000;
  ParamLayout layout;
  layout.add("w", {n}, Decay::yes);
  ParamStore params(backend->memory(), layout, DType::f32);
  double squares = 0;
  const Tensor total = view(std::span(&squares, 1));
  for (const Route route : routes) {
    GradSync sync(world_comm(), test::host_backend, n, DType::f32, {.piece_bytes = 4096, .route = route, .update = Update::own_slice});
    std::vector<float> grads = integers<float>(n, world_comm().rank(), 0);
    const Tensor g = view(std::span(grads));
    uint64_t before = 0;
    for (int step = 0; step < 4; ++step) {
      if (step == 2) before = heap_allocations();
      sync.finish(g);
      backend->sum_squares(g.slice(sync.own()), total);
      sync.share(params);
    }
    EXPECT_EQ(heap_allocations() - before, 0u) << sync.route_name();
  }
}

}  // namespace
}  // namespace lodestone
