// Every verb over 1 to 4 ranks. Values are small integers, so sums are exact in every format.
#include <gtest/gtest.h>

#include <vector>

#include "tests/support/mpi_world.h"

namespace lodestone {
namespace {

using test::world_comm;

const std::vector<int64_t> sizes{0, 1, 2, 3, 7, 64, 1001, 300'007};

/// Element i of rank r: a small integer that differs between ranks.
template <class T>
T value(int rank, int64_t i) {
  return static_cast<T>((i * 7 + int64_t{rank} * 3) % 23);
}

template <class T>
std::vector<T> values(int rank, int64_t n) {
  std::vector<T> v(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) v[static_cast<size_t>(i)] = value<T>(rank, i);
  return v;
}

/// Uneven counts: rank r holds (base * (r + 2)) % 5 elements times `scale`; some ranks hold none.
std::vector<int64_t> uneven_counts(int size, int64_t base, int64_t scale) {
  std::vector<int64_t> counts;
  counts.reserve(static_cast<size_t>(size));
  for (int r = 0; r < size; ++r) counts.push_back((base * (r + 2)) % 5 * scale);
  return counts;
}

int64_t sum(const std::vector<int64_t>& v, size_t end) {
  int64_t s = 0;
  for (size_t i = 0; i < end; ++i) s += v[i];
  return s;
}

template <class T>
T reduced(int size, int64_t i, Reduce op) {
  T r = value<T>(0, i);
  for (int k = 1; k < size; ++k) {
    const T v = value<T>(k, i);
    r = op == Reduce::sum ? static_cast<T>(r + v) : op == Reduce::max ? std::max(r, v) : std::min(r, v);
  }
  return r;
}

template <class T>
class Collectives : public ::testing::Test {};
using Numbers = ::testing::Types<double, float, int64_t, int32_t>;
TYPED_TEST_SUITE(Collectives, Numbers);

TYPED_TEST(Collectives, AllReduceIsExactForSmallIntegers) {
  using T = TypeParam;
  Communicator& comm = world_comm();
  for (const int64_t n : sizes)
    for (const Reduce op : {Reduce::sum, Reduce::max, Reduce::min}) {
      const std::vector<T> in = values<T>(comm.rank(), n);
      std::vector<T> out(in.size(), T(99));
      comm.all_reduce(view(std::span(in)), view(std::span(out)), op).wait();
      for (int64_t i = 0; i < n; ++i)
        ASSERT_EQ(out[static_cast<size_t>(i)], reduced<T>(comm.size(), i, op)) << "element " << i << " of " << n;
      std::vector<T> in_place = in;
      comm.all_reduce(view(std::span(in_place)), view(std::span(in_place)), op).wait();
      ASSERT_EQ(in_place, out);
    }
}

TYPED_TEST(Collectives, AllGatherOrdersByRankWithUnevenCounts) {
  using T = TypeParam;
  Communicator& comm = world_comm();
  const auto me = static_cast<size_t>(comm.rank());
  for (const int64_t base : {0, 1, 2, 3, 4})
    for (const int64_t scale : {1, 333, 20'001}) {
      const std::vector<int64_t> counts = uneven_counts(comm.size(), base, scale);
      const std::vector<T> in = values<T>(comm.rank(), counts[me]);
      std::vector<T> out(static_cast<size_t>(sum(counts, counts.size())), T(99));
      comm.all_gather(view(std::span(in)), view(std::span(out)), counts).wait();
      size_t at = 0;
      for (int r = 0; r < comm.size(); ++r)
        for (int64_t i = 0; i < counts[static_cast<size_t>(r)]; ++i) ASSERT_EQ(out[at++], value<T>(r, i));
      // In place: this rank's part already lies where it belongs.
      std::vector<T> whole(out.size(), T(99));
      const Slice own{sum(counts, me), sum(counts, me + 1)};
      std::copy(in.begin(), in.end(), whole.begin() + own.begin);
      const Tensor w = view(std::span(whole));
      comm.all_gather(w.slice(own), w, counts).wait();
      ASSERT_EQ(whole, out);
    }
}

TYPED_TEST(Collectives, ReduceScatterSumsAndCutsWithUnevenCounts) {
  using T = TypeParam;
  Communicator& comm = world_comm();
  const auto me = static_cast<size_t>(comm.rank());
  for (const int64_t base : {0, 1, 2, 3, 4})
    for (const int64_t scale : {1, 333, 20'001}) {
      const std::vector<int64_t> counts = uneven_counts(comm.size(), base, scale);
      const std::vector<T> in = values<T>(comm.rank(), sum(counts, counts.size()));
      std::vector<T> out(static_cast<size_t>(counts[me]), T(99));
      comm.reduce_scatter(view(std::span(in)), view(std::span(out)), counts).wait();
      for (int64_t i = 0; i < counts[me]; ++i)
        ASSERT_EQ(out[static_cast<size_t>(i)], reduced<T>(comm.size(), sum(counts, me) + i, Reduce::sum));
    }
}

TYPED_TEST(Collectives, BroadcastCopiesTheRoot) {
  using T = TypeParam;
  Communicator& comm = world_comm();
  for (const int64_t n : sizes)
    for (int root = 0; root < comm.size(); ++root) {
      std::vector<T> data = values<T>(comm.rank(), n);
      comm.broadcast(view(std::span(data)), root).wait();
      ASSERT_EQ(data, values<T>(root, n));
    }
}

TEST(MpiComm, Bf16AndBytesAreMoved) {
  Communicator& comm = world_comm();
  if (comm.size() == 1) GTEST_SKIP() << "a world of one moves nothing";
  const auto ranks = static_cast<size_t>(comm.size());
  std::vector<bfloat16> in(3, bfloat16(static_cast<float>(comm.rank()))), out(3 * ranks);
  comm.all_gather(view(std::span(in)), view(std::span(out)), std::vector<int64_t>(ranks, 3)).wait();
  for (size_t i = 0; i < out.size(); ++i) {
    const size_t sender = i / 3;
    EXPECT_EQ(static_cast<float>(out[i]), static_cast<float>(sender));
  }
  std::vector<uint8_t> bytes(5, static_cast<uint8_t>(comm.rank()));
  comm.all_reduce(view(std::span(bytes)), view(std::span(bytes)), Reduce::max).wait();
  EXPECT_EQ(bytes, std::vector<uint8_t>(5, static_cast<uint8_t>(ranks - 1)));
}

TEST(MpiComm, ReducingBf16IsRefused) {
  Communicator& comm = world_comm();
  if (comm.size() == 1) GTEST_SKIP() << "a world of one only copies";
  std::vector<bfloat16> v(3);
  EXPECT_THROW(comm.all_reduce(view(std::span(v)), view(std::span(v)), Reduce::sum).wait(), Error);
}

TEST(MpiComm, WrongCountsAreRefusedBeforeDataMoves) {
  Communicator& comm = world_comm();
  std::vector<float> in(4), out(5);
  EXPECT_THROW(comm.all_reduce(view(std::span(in)), view(std::span(out)), Reduce::sum).wait(), Error);
  const std::vector<int64_t> counts(static_cast<size_t>(comm.size()), 3);
  EXPECT_THROW(comm.all_gather(view(std::span(in)), view(std::span(out)), counts).wait(), Error);
  EXPECT_THROW(comm.broadcast(view(std::span(in)), comm.size()).wait(), Error);
  comm.barrier();
}

TEST(MpiComm, SeveralVerbsMayBeUnderWay) {
  Communicator& comm = world_comm();
  constexpr int verbs = 6;
  std::vector<std::vector<float>> data(verbs), gathered(verbs);
  std::vector<Pending> pending;
  const std::vector<int64_t> counts(static_cast<size_t>(comm.size()), 501);
  for (int k = 0; k < verbs; ++k) {
    const auto i = static_cast<size_t>(k);
    data[i].assign(501, static_cast<float>(comm.rank() + k));
    gathered[i].resize(501 * static_cast<size_t>(comm.size()));
    pending.push_back(comm.all_gather(view(std::span(data[i])), view(std::span(gathered[i])), counts));
  }
  while (!pending.front().test()) {
  }
  for (auto p = pending.rbegin(); p != pending.rend(); ++p) p->wait();
  for (int k = 0; k < verbs; ++k)
    for (size_t i = 0; i < gathered[static_cast<size_t>(k)].size(); ++i) {
      const size_t sender = i / 501;
      ASSERT_EQ(gathered[static_cast<size_t>(k)][i], static_cast<float>(k) + static_cast<float>(sender));
    }
}

TEST(MpiComm, SplitOrdersRanksWithinEachColour) {
  Communicator& comm = world_comm();
  const auto part = comm.split(comm.rank() % 2);
  EXPECT_EQ(part->rank(), comm.rank() / 2);
  EXPECT_EQ(part->size(), (comm.size() + 1 - comm.rank() % 2) / 2);
  std::vector<int64_t> ranks{comm.rank()};
  all_reduce(*part, std::span(ranks), Reduce::sum);
  int64_t expected = 0;
  for (int r = comm.rank() % 2; r < comm.size(); r += 2) expected += r;
  EXPECT_EQ(ranks[0], expected);
  const auto pairs = part->split(0);  // a split of a split
  EXPECT_EQ(pairs->size(), part->size());
}

TEST(MpiComm, TextAndScalarsReachEveryRank) {
  Communicator& comm = world_comm();
  for (int root = 0; root < comm.size(); ++root) {
    std::string text = comm.rank() == root ? std::string(static_cast<size_t>(root) * 1000, 'x') + std::string("\0end", 4)
                                           : "something else, longer than that";
    const std::string expected = std::string(static_cast<size_t>(root) * 1000, 'x') + std::string("\0end", 4);
    broadcast(comm, text, root);
    EXPECT_EQ(text, expected);
  }
  std::vector<double> stop{comm.rank() == comm.size() - 1 ? 1.0 : 0.0, 0.5};
  all_reduce(comm, std::span(stop), Reduce::max);
  EXPECT_EQ(stop, (std::vector<double>{1.0, 0.5}));
}

TEST(World, KnowsWhereEachRankRuns) {
  World& world = test::world();
  EXPECT_EQ(world.size(), world.comm().size());
  EXPECT_EQ(world.rank(), world.comm().rank());
  EXPECT_EQ(world.local_size(), world.size());  // the tests run on one host
  EXPECT_EQ(world.local_rank(), world.rank());
}

}  // namespace
}  // namespace lodestone
