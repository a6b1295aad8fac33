// One rank of many, alone: verbs check their operands, and what other ranks would send are values of which no two are equal.
#include "comm/null_comm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "core/rng.h"

namespace lodestone {
namespace {

template <class T>
std::vector<T> gathered(Communicator& comm, const std::vector<T>& own, const std::vector<int64_t>& counts) {
  int64_t all = 0;
  for (const int64_t n : counts) all += n;
  std::vector<T> out(static_cast<size_t>(all));
  comm.all_gather(view(std::span(own)), view(std::span(out)), counts).wait();
  return out;
}

TEST(NullComm, IsTheRankThatItIsAskedToBe) {
  const auto comm = make_null_comm(2, 5);
  EXPECT_EQ(comm->rank(), 2);
  EXPECT_EQ(comm->size(), 5);
  const auto part = comm->split(7);
  EXPECT_EQ(part->rank(), 2);
  EXPECT_EQ(part->size(), 5);
  comm->barrier();
  EXPECT_THROW((void)make_null_comm(5, 5), Error);
  EXPECT_THROW((void)make_null_comm(-1, 5), Error);
}

TEST(NullComm, GatherKeepsTheOwnPartInItsPlace) {
  const auto comm = make_null_comm(1, 3);
  const std::vector<int64_t> own{-7, -8, -9};
  const std::vector<int64_t> all = gathered(*comm, own, {2, 3, 4});
  EXPECT_EQ(std::vector<int64_t>(all.begin() + 2, all.begin() + 5), own);
  // In place: the input is this rank's part of the output.
  std::vector<int64_t> out(9, -1);
  const Tensor whole = view(std::span(out));
  comm->all_gather(whole.slice({2, 5}), whole, std::vector<int64_t>{2, 3, 4}).wait();
  EXPECT_EQ(std::vector<int64_t>(out.begin() + 2, out.begin() + 5), std::vector<int64_t>(3, -1));
  EXPECT_EQ(std::count(out.begin(), out.end(), -1), 3);
}

TEST(NullComm, PatternsOfOtherRanksNeverMeetWithinACallOrBetweenCalls) {
  const auto comm = make_null_comm(0, 4), part = comm->split(0);
  std::set<int64_t> seen;
  for (uint64_t k = 0; k < 1000; ++k) seen.insert(static_cast<int64_t>(mix64(k)));  // what synthetic batches have
  for (int call = 0; call < 3; ++call)
    for (Communicator* c : {comm.get(), part.get()}) {
      const std::vector<int64_t> all = gathered(*c, std::vector<int64_t>(10), {10, 100, 0, 1000});
      seen.insert(all.begin() + 10, all.end());
    }
  EXPECT_EQ(seen.size(), size_t{1000 + 6 * 1100});
}

template <class T>
class NullCommFloats : public testing::Test {};
using Floats = testing::Types<double, float, bfloat16>;
TYPED_TEST_SUITE(NullCommFloats, Floats);

TYPED_TEST(NullCommFloats, OfOtherRanksAreDifferentAndBetweenZeroAndOne) {
  const auto comm = make_null_comm(1, 2);
  std::set<double> seen;
  for (int call = 0; call < 2; ++call) {
    const std::vector<TypeParam> all = gathered(*comm, std::vector<TypeParam>(1), {8000, 1});
    for (size_t i = 0; i < 8000; ++i) {
      double value = 0;
      if constexpr (std::is_same_v<TypeParam, bfloat16>)
        value = static_cast<double>(static_cast<float>(all[i]));
      else
        value = static_cast<double>(all[i]);
      EXPECT_TRUE(value > 0 && value < 1) << value;
      seen.insert(value);
    }
  }
  EXPECT_EQ(seen.size(), 16000u);
}

TEST(NullComm, SmallIntegersOfOtherRanksAreDifferentToo) {
  const auto comm = make_null_comm(1, 2);
  const std::vector<int32_t> numbers = gathered(*comm, std::vector<int32_t>{1}, {5000, 1});
  EXPECT_EQ(std::set<int32_t>(numbers.begin(), numbers.end() - 1).size(), 5000u);
  EXPECT_GE(*std::min_element(numbers.begin(), numbers.end()), 0);
  const std::vector<uint8_t> bytes = gathered(*comm, std::vector<uint8_t>{1}, {256, 1});
  EXPECT_EQ(std::set<uint8_t>(bytes.begin(), bytes.end() - 1).size(), 256u);
}

TEST(NullComm, SumsAreThisRanksOwn) {
  const auto comm = make_null_comm(1, 3);
  const std::vector<float> in{1, 2, 3, 4, 5, 6};
  std::vector<float> out(6), part(2);
  comm->all_reduce(view(std::span(in)), view(std::span(out)), Reduce::sum).wait();
  EXPECT_EQ(out, in);
  comm->reduce_scatter(view(std::span(in)), view(std::span(part)), std::vector<int64_t>{1, 2, 3}).wait();
  EXPECT_EQ(part, (std::vector<float>{2, 3}));
  comm->broadcast(view(std::span(out)), 2).wait();
  EXPECT_EQ(out, in);
}

TEST(NullComm, RefusesShapesThatDoNotMatch) {
  const auto comm = make_null_comm(0, 2);
  std::vector<float> three(3), four(4);
  std::vector<double> doubles(3);
  const Tensor x = view(std::span(three)), y = view(std::span(four)), d = view(std::span(doubles));
  const auto gather = [&](std::vector<int64_t> counts) { comm->all_gather(x, y, counts).wait(); };
  EXPECT_NO_THROW(gather({3, 1}));
  EXPECT_THROW(gather({1, 3}), Error) << "not what this rank gives";
  EXPECT_THROW(gather({3, 2}), Error) << "not what comes out";
  EXPECT_THROW(gather({3, 1, 0}), Error) << "of three ranks";
  EXPECT_THROW(comm->all_reduce(x, y, Reduce::sum).wait(), Error);
  EXPECT_THROW(comm->all_reduce(x, d, Reduce::sum).wait(), Error);
  EXPECT_THROW(comm->reduce_scatter(y, x, std::vector<int64_t>{1, 3}).wait(), Error);
  EXPECT_THROW(comm->broadcast(x, 2).wait(), Error);
  std::vector<bfloat16> halves(3), sums(3);
  EXPECT_THROW(comm->all_reduce(view(std::span(halves)), view(std::span(sums)), Reduce::sum).wait(), Error) << "bf16 is not summed";
}

TEST(NullComm, MovesNothingWhereThereIsNoMemory) {
  const auto comm = make_null_comm(0, 2);
  std::byte* const nowhere = reinterpret_cast<std::byte*>(4096);
  const Tensor in(nowhere, DType::f32, {3}, Device::null), out(nowhere + 64, DType::f32, {4}, Device::null);
  std::vector<float> host(3);
  comm->all_reduce(in, in, Reduce::sum).wait();
  comm->all_gather(in, out, std::vector<int64_t>{3, 1}).wait();
  comm->all_gather(view(std::span(host)), out, std::vector<int64_t>{3, 1}).wait();
  comm->reduce_scatter(out, in, std::vector<int64_t>{3, 1}).wait();
  comm->broadcast(in, 1).wait();
  EXPECT_THROW(comm->all_reduce(in, out, Reduce::sum).wait(), Error) << "sizes are checked all the same";
  EXPECT_THROW(comm->all_reduce(in, view(std::span(host)), Reduce::sum).wait(), Error) << "nothing comes to the host from nowhere";
}

}  // namespace
}  // namespace lodestone
