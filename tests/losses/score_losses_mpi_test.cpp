// Losses of gold and teacher scores over ranks: shares add up to the one-process loss, every rank's gradient is its part of the
// one-process gradient, and a wrong exchange or count fails the same comparison. Stabilised distillation is among the
// contrastive cases.
#include <gtest/gtest.h>

#include "losses/cosent.h"
#include "losses/distill.h"
#include "tests/support/divided_by_own_count.h"
#include "tests/support/loss_problem.h"
#include "tests/support/mpi_world.h"
#include "tests/support/partial_gather_comm.h"

namespace lodestone::test {
namespace {

/// No sum of similarities or vectors has terms of two rows: gradients have the same bits however rows lie on ranks. The loss is a sum in
/// f64 of a term for every score, in another order: a unit of 2^-53, times the root of their number, times 2 for the steps of a term.
void expect_independence(Loss& loss, std::initializer_list<int64_t> groups) {
  Communicator& world = world_comm();
  for (const int64_t n : {1, 3, 7, 12}) {  // fewer queries than ranks, uneven, even
    for (const int64_t group : groups) {
      const LossProblem problem(n, group, 5, static_cast<uint32_t>(n));
      const double rounding = 0x1p-53 * std::sqrt(static_cast<double>(n * group)) * 2;
      for (const DType dtype : {DType::f64, DType::f32}) {
        const LossAnswer expected = answer_alone(loss, problem, dtype);
        for (const std::vector<int64_t>& split : row_splits(n, world.size())) {
          const LossAnswer got = answer(loss, problem, split, world, world, dtype);
          EXPECT_NEAR(got.loss, expected.loss, rounding * expected.loss) << n << " queries of group " << group << ", " << name_of(dtype);
          EXPECT_EQ(gradient_difference(got, expected), 0) << n << " queries of group " << group << ", " << name_of(dtype);
        }
      }
    }
  }
}

TEST(CosentOverRanks, LossAndGradientAreIndependentOfRankCountAndSplit) {
  Cosent loss({.temperature = 0.2});
  expect_independence(loss, {1});
}

TEST(CosentOverRanks, PairsOfOneRankOnlyFailTheSameComparison) {
  Communicator& world = world_comm();
  if (world.size() == 1) GTEST_SKIP() << "one rank has nothing to miss";
  PartialGatherComm partial(world);
  Cosent loss({.temperature = 0.2});
  const LossProblem problem(12, 1, 5);
  const LossAnswer expected = answer_alone(loss, problem), got = answer(loss, problem, row_splits(12, world.size())[0], world, partial);
  EXPECT_GT(std::abs(got.loss - expected.loss), 1e-3);
  EXPECT_GT(gradient_difference(got, expected), 1e-3);
}

TEST(CosentOverRanks, EqualGoldScoresGiveNoLossAndNoGradient) {
  LossProblem problem(7, 1, 5);
  std::fill(problem.scores.begin(), problem.scores.end(), 0.5);
  Cosent loss({.temperature = 0.2});
  const LossAnswer got = answer(loss, problem, row_splits(7, world_comm().size())[0], world_comm(), world_comm());
  EXPECT_EQ(got.loss, 0);
  for (const double d : got.d_queries) EXPECT_EQ(d, 0);
  for (const double d : got.d_passages) EXPECT_EQ(d, 0);
}

TEST(GroupDistillationOverRanks, LossAndGradientAreIndependentOfRankCountAndSplit) {
  GroupDistillation distillation({.temperature = 0.2});
  MarginMse margins({});
  expect_independence(distillation, {2, 4});
  expect_independence(margins, {2, 4});
}

TEST(GroupDistillationOverRanks, DividingByTheRanksOwnCountFailsTheSameComparison) {
  Communicator& world = world_comm();
  if (world.size() == 1) GTEST_SKIP() << "one rank has all rows";
  const LossProblem problem(8, 3, 5);
  for (const bool margins : {false, true}) {
    const auto make = [&]() -> std::unique_ptr<Loss> {
      if (margins) return std::make_unique<MarginMse>(MarginMseOptions{});
      return std::make_unique<GroupDistillation>(GroupDistillationOptions{.temperature = 0.2});
    };
    const auto right = make();
    DividedByOwnCount wrong(make());
    const LossAnswer expected = answer_alone(*right, problem), got = answer(wrong, problem, row_splits(8, world.size())[0], world, world);
    EXPECT_GT(std::abs(got.loss - expected.loss), 1e-3);
    EXPECT_GT(gradient_difference(got, expected), 1e-3);
  }
}

}  // namespace
}  // namespace lodestone::test
