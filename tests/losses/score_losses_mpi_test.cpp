// Losses of gold and teacher scores over ranks: shares add up to the one-process loss, every rank's gradient is its part of the
// one-process gradient, and a wrong exchange fails the same comparison.
#include <gtest/gtest.h>

#include "losses/cosent.h"
#include "losses/distill.h"
#include "losses/stabilised_distill.h"
#include "tests/support/detached_comm.h"
#include "tests/support/mpi_world.h"
#include "tests/support/partial_gather_comm.h"
#include "tests/support/scored_texts.h"

namespace lodestone::test {
namespace {

Deviation deviation(Loss& loss, const ScoredTexts& texts, Communicator& exchange, EditPairs edit = as_they_are) {
  return compare_over_ranks(evaluate(loss, texts, exchange, DType::f64, 1, edit), evaluate_alone(loss, texts), texts, world_comm());
}

void expect_independence(Loss& loss, std::initializer_list<int64_t> groups) {
  for (const int64_t n : {1, 3, 7, 12}) {  // fewer queries than ranks, uneven, even
    for (const int64_t group : groups) {
      const ScoredTexts texts = random_texts(n, group, 5, static_cast<uint32_t>(n));
      const Deviation d = deviation(loss, texts, world_comm());
      EXPECT_LT(d.loss, 1e-12) << n << " queries of group " << group;
      EXPECT_LT(d.gradient, 1e-13) << n << " queries of group " << group;
      const RankAnswer narrow = evaluate(loss, texts, world_comm(), DType::f32), whole = evaluate_alone(loss, texts, DType::f32);
      const Deviation f32 = compare_over_ranks(narrow, whole, texts, world_comm());
      EXPECT_LE(f32.loss, 2e-6 * whole.loss) << n << " queries of group " << group;
      EXPECT_LT(f32.gradient, 2e-6) << n << " queries of group " << group;
    }
  }
}

TEST(CosentOverRanks, LossAndGradientAreIndependentOfRankCount) {
  Cosent loss({.temperature = 0.2});
  expect_independence(loss, {1});
}

TEST(CosentOverRanks, PairsOfOneRankOnlyFailTheSameComparison) {
  if (world_comm().size() == 1) GTEST_SKIP() << "one rank has nothing to miss";
  PartialGatherComm partial(world_comm());
  Cosent loss({.temperature = 0.2});
  const Deviation d = deviation(loss, random_texts(12, 1, 5), partial);
  EXPECT_GT(d.loss, 1e-3);
  EXPECT_GT(d.gradient, 1e-3);
}

TEST(CosentOverRanks, EqualGoldScoresGiveNoLossAndNoGradient) {
  ScoredTexts texts = random_texts(7, 1, 5);
  std::fill(texts.scores.begin(), texts.scores.end(), 0.5);
  Cosent loss({.temperature = 0.2});
  const RankAnswer mine = evaluate(loss, texts, world_comm());
  EXPECT_EQ(mine.loss, 0);
  for (const double d : mine.d_emb) EXPECT_EQ(d, 0);
}

TEST(StabilisedOverRanks, LossAndGradientAreIndependentOfRankCount) {
  for (const RewardOrder order : {RewardOrder::full_sort, RewardOrder::released_code}) {
    StabilisedDistillation loss({.temperature = 0.2, .teacher_temperature = 0.5, .order = order});
    expect_independence(loss, {1, 4});
  }
}

TEST(StabilisedOverRanks, DetachedGatherFailsTheSameComparison) {
  if (world_comm().size() == 1) GTEST_SKIP() << "one rank has nothing to detach";
  DetachedComm detached(world_comm());
  StabilisedDistillation loss({.temperature = 0.2});
  const Deviation d = deviation(loss, random_texts(7, 3, 5), detached);
  EXPECT_LT(d.loss, 1e-12);     // the value is right,
  EXPECT_GT(d.gradient, 1e-3);  // the gradient is not
}

TEST(GroupDistillationOverRanks, LossAndGradientAreIndependentOfRankCount) {
  GroupDistillation distillation({.temperature = 0.2});
  MarginMse margins({});
  expect_independence(distillation, {2, 4});
  expect_independence(margins, {2, 4});
}

TEST(GroupDistillationOverRanks, DividingByTheRanksOwnCountFailsTheSameComparison) {
  if (world_comm().size() == 1) GTEST_SKIP() << "one rank has all rows";
  GroupDistillation distillation({.temperature = 0.2});
  MarginMse margins({});
  for (Loss* loss : {static_cast<Loss*>(&distillation), static_cast<Loss*>(&margins)}) {
    const Deviation d =
        deviation(*loss, random_texts(8, 3, 5), world_comm(), [](Pairs& pairs) { pairs.global_queries = pairs.queries; });
    EXPECT_GT(d.loss, 1e-3);
    EXPECT_GT(d.gradient, 1e-3);
  }
}

}  // namespace
}  // namespace lodestone::test
