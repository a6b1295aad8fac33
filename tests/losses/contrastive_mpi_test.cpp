// Every contrastive loss over ranks: shares add up to the one-process loss and gradients are parts of the one-process gradient,
// however the rows lie on the ranks.
#include <gtest/gtest.h>

#include "losses/cosent.h"
#include "tests/losses/contrastive_cases.h"
#include "tests/support/counting_comm.h"
#include "tests/support/detached_comm.h"
#include "tests/support/divided_by_own_count.h"
#include "tests/support/loss_problem.h"
#include "tests/support/loss_rounding.h"
#include "tests/support/mpi_world.h"
#include "tests/support/partial_gather_comm.h"

namespace lodestone::test {
namespace {

LossProblem seven_queries(int64_t group) {
  LossProblem problem(7, group, 5);
  problem.plant_duplicates();
  return problem;
}

TEST(ContrastiveOverRanks, LossAndGradientAreIndependentOfRankCountAndSplit) {
  Communicator& world = world_comm();
  for (const ContrastiveCase& c : contrastive_cases()) {
    for (const int64_t group : {1, 3}) {
      const LossProblem problem = seven_queries(group);
      const auto loss = c.make();
      const LossAnswer expected = answer_alone(*loss, problem);
      for (const std::vector<int64_t>& split : row_splits(problem.n, world.size())) {
        const LossAnswer got = answer(*loss, problem, split, world, world);
        // Sums of a few hundred numbers of order 1 in another order.
        EXPECT_NEAR(got.loss, expected.loss, 1e-13) << c.name << ", group " << group;
        EXPECT_LT(gradient_difference(got, expected), 1e-14) << c.name << ", group " << group;
        EXPECT_EQ(got.masked, expected.masked) << c.name << ", group " << group;
      }
    }
  }
}

TEST(ContrastiveOverRanks, FewerQueriesThanRanksWork) {
  Communicator& world = world_comm();
  for (const ContrastiveCase& c : contrastive_cases()) {
    const LossProblem problem(1, 2, 5);
    const auto loss = c.make();
    const LossAnswer expected = answer_alone(*loss, problem), got = answer(*loss, problem, row_splits(1, world.size())[0], world, world);
    EXPECT_NEAR(got.loss, expected.loss, 1e-14) << c.name;
    EXPECT_LT(gradient_difference(got, expected), 1e-15) << c.name;
  }
}

TEST(ContrastiveOverRanks, SourceWithoutInBatchNegativesHasTheOwnGroupOnly) {
  Communicator& world = world_comm();
  for (const ContrastiveCase& c : contrastive_cases()) {
    LossProblem problem = seven_queries(3), changed = problem;
    problem.in_batch_negatives = changed.in_batch_negatives = false;
    for (size_t e = 0; e < 4 * 5; ++e) changed.queries[e] += 1;  // of the first four queries
    const auto loss = c.make();
    const auto split = row_splits(problem.n, world.size())[0];
    const LossAnswer alone = answer_alone(*loss, problem), got = answer(*loss, problem, split, world, world),
                     other = answer(*loss, changed, split, world, world);
    EXPECT_NEAR(got.loss, alone.loss, 1e-13) << c.name;
    EXPECT_LT(gradient_difference(got, alone), 1e-14) << c.name;
    for (size_t e = 4 * 5; e < problem.queries.size(); ++e) ASSERT_EQ(other.d_queries[e], got.d_queries[e]) << c.name;
  }
}

TEST(ContrastiveOverRanks, DetachedExchangeFailsTheSameComparison) {
  Communicator& world = world_comm();
  if (world.size() == 1) GTEST_SKIP() << "one rank has nothing to detach";
  DetachedComm detached(world);
  for (const ContrastiveCase& c : contrastive_cases()) {
    if (c.gradients == GradientsTravel::no) continue;
    const LossProblem problem(7, 2, 5);
    const auto loss = c.make();
    const LossAnswer expected = answer_alone(*loss, problem),
                     got = answer(*loss, problem, row_splits(problem.n, world.size())[0], world, detached);
    EXPECT_NEAR(got.loss, expected.loss, 1e-13) << c.name;          // the value is right,
    EXPECT_GT(gradient_difference(got, expected), 1e-4) << c.name;  // the gradient is not
  }
}

// Where no gradient travels, nothing can be detached; the global count is what such a loss can get wrong.
TEST(ContrastiveOverRanks, DividingByTheRanksOwnCountFailsTheSameComparison) {
  Communicator& world = world_comm();
  if (world.size() == 1) GTEST_SKIP() << "one rank has all rows";
  for (const ContrastiveCase& c : contrastive_cases()) {
    if (c.gradients == GradientsTravel::yes) continue;
    const LossProblem problem(8, 3, 5);
    DividedByOwnCount wrong(c.make());
    const LossAnswer expected = answer_alone(*c.make(), problem),
                     got = answer(wrong, problem, row_splits(problem.n, world.size())[0], world, world);
    EXPECT_GT(std::abs(got.loss - expected.loss), 1e-3) << c.name;
    EXPECT_GT(gradient_difference(got, expected), 1e-3) << c.name;
  }
}

TEST(ContrastiveOverRanks, HashesOfThisRankAloneFailTheSameComparison) {
  Communicator& world = world_comm();
  if (world.size() == 1) GTEST_SKIP() << "one rank has all hashes";
  PartialGatherComm without_hashes(world, DType::i64);
  int64_t compared = 0;
  for (const ContrastiveCase& c : contrastive_cases()) {
    const LossProblem problem = seven_queries(3);
    const auto loss = c.make();
    const LossAnswer expected = answer_alone(*loss, problem);
    if (expected.masked == 0 || c.gradients == GradientsTravel::no) continue;
    const LossAnswer got = answer(*loss, problem, row_splits(problem.n, world.size())[0], world, without_hashes);
    EXPECT_GT(std::abs(got.loss - expected.loss), 1e-3) << c.name;
    EXPECT_GT(gradient_difference(got, expected), 1e-3) << c.name;
    ++compared;
  }
  EXPECT_EQ(compared, 8);
}

TEST(ContrastiveOverRanks, SinglePrecisionFollowsDouble) {
  Communicator& world = world_comm();
  for (const ContrastiveCase& c : contrastive_cases()) {
    const LossProblem problem = seven_queries(3);
    const auto loss = c.make();
    const LossAnswer got = answer(*loss, problem, row_splits(problem.n, world.size())[2], world, world, DType::f32, "cpu");
    expect_rounded(got, rounded_answer(*loss, problem), c.name);
  }
}

/// The golden scores of CBB as texts: queries are axes, so that a passage's first two components are its cosines with them. Each
/// query's group is its positive and a negative from either of two sets.
LossProblem golden_texts() {
  LossProblem problem(2, 3, 3);
  problem.queries = {1, 0, 0, 0, 1, 0};
  const double cosines[6][2] = {{0.8, 0.1}, {0.6, 0.1}, {0.4, 0.65}, {0.1, 0.7}, {0.2, 0.5}, {0.3, 0.0}};
  problem.passages.clear();
  for (const auto& [a, b] : cosines) problem.passages.insert(problem.passages.end(), {a, b, std::sqrt(1 - a * a - b * b)});
  return problem;
}

double over_ranks(Loss& loss, const LossProblem& problem, size_t split) {
  return answer(loss, problem, row_splits(problem.n, world_comm().size())[split], world_comm(), world_comm()).loss;
}

TEST(CbbOverRanks, GoldenValuesHoweverTheNegativesLieOnRanks) {
  // Scored pairs of CoSENT's golden cosines: a first text is an axis.
  LossProblem pairs(4, 1, 2);
  const double cosines[4] = {0.8, 0.3, 0.5, 0.5};
  pairs.scores = {1, 0, 1, 0.5};
  for (size_t i = 0; i < 4; ++i) {
    pairs.queries[2 * i] = 1;
    pairs.queries[2 * i + 1] = 0;
    pairs.passages[2 * i] = cosines[i];
    pairs.passages[2 * i + 1] = std::sqrt(1 - cosines[i] * cosines[i]);
  }
  struct Golden {
    double temperature, all, total, own;
  };
  for (const Golden& g : {Golden{0.05, 0.1725487876, 0.7425773614, 0.0183150235}, Golden{0.5, 1.0821806483, 2.2410946306, 0.7009843426}}) {
    Cbb all({.temperature = g.temperature}), own({.temperature = g.temperature, .negatives = NegativeScope::own});
    Cosent cosent({.temperature = g.temperature});
    const LossProblem texts = golden_texts();
    LossProblem dealt = texts;  // another deal of the four negatives to the two groups
    std::swap_ranges(dealt.passages.begin() + 3, dealt.passages.begin() + 6, dealt.passages.begin() + 15);
    for (size_t split = 0; split < 3; ++split) {
      EXPECT_NEAR(over_ranks(all, texts, split), g.all, 5e-11);
      EXPECT_NEAR(over_ranks(all, dealt, split), g.all, 5e-11) << "every negative counts for every query";
      EXPECT_NEAR(over_ranks(all, texts, split) + 0.8 * over_ranks(cosent, pairs, split), g.total, 1e-10);
      EXPECT_NEAR(over_ranks(own, texts, split), g.own, 5e-11);
      EXPECT_GT(std::abs(over_ranks(own, dealt, split) - g.own), 1e-3) << "whose a negative is does matter here";
    }
  }
}

TEST(CbbOverRanks, BytesSentDoNotChangeWithTheNumberOfNegatives) {
  Communicator& world = world_comm();
  const int64_t n = 7, width = 5;
  for (const auto& other : {OtherPositives::excluded, OtherPositives::included}) {
    for (const int64_t group : {2, 3, 9}) {
      CountingComm counted(world);
      Cbb loss({.temperature = 0.2, .other_positives = other});
      answer(loss, LossProblem(n, group, width), row_splits(n, world.size())[0], world, counted);
      EXPECT_EQ(counted.reduced_bytes, 2 * n * sizeof(double));       // a maximum and a sum for each query
      EXPECT_EQ(counted.gathered_bytes, n * width * sizeof(double));  // the queries,
      EXPECT_EQ(counted.scattered_bytes, counted.gathered_bytes);     // their gradients, and no passage
    }
  }
}

TEST(CbbOverRanks, MaskingSendsThreeHashesForEachQueryHoweverManyNegatives) {
  Communicator& world = world_comm();
  const int64_t n = 7, width = 5;
  for (const int64_t group : {2, 3, 9}) {
    CountingComm counted(world);
    Cbb loss({.temperature = 0.2, .other_positives = OtherPositives::included, .duplicates = Duplicates::masked});
    answer(loss, LossProblem(n, group, width), row_splits(n, world.size())[0], world, counted);
    EXPECT_EQ(counted.reduced_bytes, 2 * n * sizeof(double));
    EXPECT_EQ(counted.gathered_bytes, n * width * sizeof(double) + 3 * n * sizeof(uint64_t));
    EXPECT_EQ(counted.scattered_bytes, n * width * sizeof(double));
  }
}

TEST(CbbOverRanks, MatryoshkaSendsTwoNumbersForEachQueryAndSize) {
  Communicator& world = world_comm();
  CountingComm counted(world);
  Matryoshka loss(std::make_unique<Cbb>(CbbOptions{}), {2, 3, 5});
  answer(loss, LossProblem(7, 4, 5), row_splits(7, world.size())[0], world, counted);
  EXPECT_EQ(counted.reduced_bytes, 3 * 2 * 7 * sizeof(double));
  EXPECT_EQ(counted.gathered_bytes, (2 + 3 + 5) * 7 * sizeof(double));
}

}  // namespace
}  // namespace lodestone::test
