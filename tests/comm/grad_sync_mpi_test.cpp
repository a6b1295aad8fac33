// The gradient sum equals a plain all-reduce on both routes, for any order of hooks, and starts inside backward.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <thread>

#include "comm/grad_sync.h"
#include "launch/console/allocations.h"
#include "tests/support/host_memory.h"
#include "tests/support/mpi_world.h"

namespace lodestone {
namespace {

using test::world_comm;
using Route = GradSync::Route;

const std::vector<Route> routes{Route::shared_memory, Route::communicator};

template <class T>
std::vector<T> integers(int64_t n, int rank, int step) {
  std::vector<T> v(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) v[static_cast<size_t>(i)] = static_cast<T>((i * 11 + int64_t{5} * rank + int64_t{3} * step) % 31 - 15);
  return v;
}

template <class T>
std::vector<T> reals(int64_t n, int rank) {
  std::mt19937 random(static_cast<unsigned>(17 + rank));
  std::normal_distribution<double> normal;
  std::vector<T> v(static_cast<size_t>(n));
  for (T& x : v) x = static_cast<T>(normal(random));
  return v;
}

template <class T>
std::vector<T> plain_sum(std::vector<T> v) {
  const Tensor t = view(std::span(v));
  world_comm().all_reduce(t, t, Reduce::sum).wait();
  return v;
}

/// [0, n) cut into `parts` ranges, last first, as backward hands them out.
std::vector<Slice> descending(int64_t n, int64_t parts) {
  std::vector<Slice> slices;
  for (int64_t p = parts; p > 0; --p) slices.push_back({n * (p - 1) / parts, n * p / parts});
  return slices;
}

template <class T>
class GradSyncOf : public ::testing::Test {};
using Floats = ::testing::Types<float, double>;
TYPED_TEST_SUITE(GradSyncOf, Floats);

TYPED_TEST(GradSyncOf, EqualsAPlainAllReduceOverManySteps) {
  using T = TypeParam;
  for (const Route route : routes)
    for (const int64_t n : {0, 1, 7, 1024, 100'003})
      for (const int64_t piece_bytes : {64, 4096, 1 << 20}) {
        if (n / piece_bytes > 1000) continue;
        GradSync sync(world_comm(), test::host_backend, n, dtype_of<T>, {.piece_bytes = piece_bytes, .route = route});
        for (int step = 0; step < 3; ++step) {
          std::vector<T> grads = integers<T>(n, world_comm().rank(), step);
          const std::vector<T> expected = plain_sum(grads);
          const Tensor g = view(std::span(grads));
          sync.begin(g);
          for (const Slice s : descending(n, 5)) sync.ready(s);
          EXPECT_EQ(sync.finish(g), (Slice{0, n}));
          ASSERT_EQ(grads, expected) << sync.route_name() << ", " << n << " elements in pieces of " << piece_bytes << ", step " << step;
        }
      }
}

TYPED_TEST(GradSyncOf, RealNumbersAgreeWithAPlainAllReduceAndBetweenRanks) {
  using T = TypeParam;
  const int64_t n = 50'021;
  // W - 1 additions, each rounded once, on either side: 2 (W - 1) units in the last place of a sum of W standard normals.
  const double tolerance = 8.0 * static_cast<double>(world_comm().size()) * static_cast<double>(std::numeric_limits<T>::epsilon());
  std::vector<T> first;
  for (const Route route : routes)
    for (const int64_t piece_bytes : {1 << 12, 1 << 16}) {
      std::vector<T> grads = reals<T>(n, world_comm().rank());
      const std::vector<T> expected = plain_sum(grads);
      GradSync sync(world_comm(), test::host_backend, n, dtype_of<T>, {.piece_bytes = piece_bytes, .route = route});
      sync.finish(view(std::span(grads)));
      for (size_t i = 0; i < grads.size(); ++i) ASSERT_NEAR(grads[i], expected[i], tolerance);
      std::vector<T> root = grads;
      world_comm().broadcast(view(std::span(root)), 0).wait();
      ASSERT_EQ(grads, root) << "ranks differ in their bits";
      if (route == Route::communicator) continue;
      if (first.empty()) first = grads;
      ASSERT_EQ(grads, first) << "shared memory: the sum depends on the piece size";
    }
}

TEST(GradSync, RanksMayDeclareRangesInAnyOrderOrNotAtAll) {
  const int64_t n = 40'000;
  for (const Route route : routes) {
    GradSync sync(world_comm(), test::host_backend, n, DType::f32, {.piece_bytes = 2048, .route = route});
    for (int step = 0; step < 4; ++step) {
      std::vector<float> grads = integers<float>(n, world_comm().rank(), step);
      const std::vector<float> expected = plain_sum(grads);
      const Tensor g = view(std::span(grads));
      sync.begin(g);
      if ((world_comm().rank() + step) % 3 != 2) {  // the others declare nothing
        std::vector<Slice> slices = descending(n, 37);
        std::mt19937 random(static_cast<unsigned>(world_comm().rank() * 10 + step));
        std::shuffle(slices.begin(), slices.end(), random);
        for (const Slice s : slices) sync.ready(s);
      }
      sync.finish(g);
      ASSERT_EQ(grads, expected);
    }
  }
}

TEST(GradSync, HostsSumAmongThemselvesFirst) {
  // Pairs of ranks play hosts. Four ranks are two hosts of two; three are hosts of different sizes; two are one host.
  const auto host = world_comm().split(world_comm().rank() / 2);
  for (const int64_t n : {1, 20, 1001, 40'007}) {
    GradSync sync(world_comm(), test::host_backend, n, DType::f32, {.piece_bytes = 4096, .host = host.get()});
    if (world_comm().size() == 4) {
      EXPECT_STREQ(sync.route_name(), "shared memory, hosts by communicator");
    }
    if (world_comm().size() == 3) {
      EXPECT_STREQ(sync.route_name(), "communicator");
    }
    for (int step = 0; step < 3; ++step) {
      std::vector<float> grads = integers<float>(n, world_comm().rank(), step);
      const std::vector<float> expected = plain_sum(grads);
      const Tensor g = view(std::span(grads));
      sync.begin(g);
      for (const Slice s : descending(n, 5)) sync.ready(s);
      sync.finish(g);
      ASSERT_EQ(grads, expected) << n << " elements, step " << step;
    }
    std::vector<float> values = reals<float>(n, world_comm().rank());
    sync.finish(view(std::span(values)));
    std::vector<float> root = values;
    world_comm().broadcast(view(std::span(root)), 0).wait();
    ASSERT_EQ(values, root) << "ranks differ in their bits";
  }
}

TEST(GradSync, AllocatesNothingOnceWarm) {
  const int64_t n = 100'000;
  for (const Route route : routes) {
    GradSync sync(world_comm(), test::host_backend, n, DType::f32,
                  {.piece_bytes = 16'384, .route = route, .watchdog = &test::world().watchdog()});
    std::vector<float> grads = integers<float>(n, world_comm().rank(), 0);
    const std::vector<Slice> slices = descending(n, 12);
    uint64_t before = 0;
    for (int step = 0; step < 4; ++step) {
      if (step == 1) before = heap_allocations();
      const Tensor g = view(std::span(grads));
      sync.begin(g);
      const std::function<void(Slice)> hook = sync.hook();
      for (const Slice s : slices) hook(s);
      sync.finish(g);
    }
    EXPECT_EQ(heap_allocations() - before, 0u) << sync.route_name();
  }
}

TEST(GradSync, FirstPieceIsUnderWayBeforeHalfOfBackwardIsDone) {
  if (world_comm().size() == 1) GTEST_SKIP() << "a world of one sends nothing";
  const int64_t n = 3'000'000;
  for (const Route route : routes) {
    GradSync sync(world_comm(), test::host_backend, n, DType::f32, {.piece_bytes = 1 << 20, .route = route});
    std::vector<float> grads(static_cast<size_t>(n), 1.0f);
    const Tensor g = view(std::span(grads));
    world_comm().barrier();
    const auto start = std::chrono::steady_clock::now();
    sync.begin(g);
    for (const Slice s : descending(n, 12)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(4));  // a block's backward
      sync.ready(s);
    }
    const double backward_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    sync.finish(g);
    ASSERT_EQ(sync.trace().size(), 12u);
    EXPECT_LT(sync.trace()[0].started_s, backward_s / 2) << sync.route_name();
    double before = 0;
    for (const GradSync::PieceTime& piece : sync.trace()) {
      EXPECT_GE(piece.started_s, before);  // in order
      EXPECT_GE(piece.done_s, piece.started_s);
      before = piece.started_s;
    }
    EXPECT_EQ(sync.trace().front().slice.end, n);
    EXPECT_EQ(sync.trace().back().slice.begin, 0);
  }
}

TEST(GradSync, AWorldOfOneDoesNothing) {
  const auto self = make_self_comm();
  GradSync sync(*self, test::host_backend, 10, DType::f64);
  std::vector<double> grads = integers<double>(10, 0, 0);
  const Tensor g = view(std::span(grads));
  sync.begin(g);
  sync.ready({3, 10});
  EXPECT_EQ(sync.finish(g), (Slice{0, 10}));
  EXPECT_EQ(grads, integers<double>(10, 0, 0));
  EXPECT_STREQ(sync.route_name(), "none");
}

TEST(GradSync, RefusesOtherMemoryAndBadRanges) {
  const auto self = make_self_comm();
  GradSync sync(*self, test::host_backend, 10, DType::f32);
  std::vector<float> grads(10), other(10), shorter(9);
  EXPECT_THROW(sync.ready({0, 1}), Error);
  EXPECT_THROW(sync.begin(view(std::span(shorter))), Error);
  sync.begin(view(std::span(grads)));
  EXPECT_THROW(sync.begin(view(std::span(grads))), Error);
  EXPECT_THROW(sync.ready({5, 11}), Error);
  EXPECT_THROW(sync.finish(view(std::span(other))), Error);
}

}  // namespace
}  // namespace lodestone
