// Is a run in which mining can replace nothing found out before it begins?
#include "launch/training/mining_reach.h"

#include <gtest/gtest.h>

namespace lodestone {
namespace {

/// Obstacles where 64 rows are drawn in batches of 16, one a step.
std::vector<std::string> obstacles(const HardNegativesConfig& mining, int64_t steps, int64_t most = 40,
                                   Batching batching = Batching::multinomial) {
  const Plan plan({.global_batch = 16, .batches = steps, .batching = batching}, {{.name = "a", .rows = 64}});
  return mining_warnings(mining, Similarity::cosine, plan, steps, most);
}

TEST(MiningReach, ARunThatScoresEachRowOnceIsNamed) {
  EXPECT_EQ(obstacles({.every = 2}, 4),
            std::vector<std::string>{
                "mining replaces nothing: no row is trained on twice, so no score can fall; give mining.probe, or more epochs"});
  EXPECT_TRUE(obstacles({.every = 2}, 5).empty());
  EXPECT_TRUE(obstacles({.every = 2, .probe = 8}, 4).empty());
  EXPECT_TRUE(obstacles({.every = 2, .rule = MiningRule::each}, 4).empty()) << "a first score below each_floor replaces";
  EXPECT_EQ(obstacles({.every = 2}, 4, 40, Batching::mixed).size(), 1u);
}

TEST(MiningReach, ARunWithoutACheckIsNamed) {
  EXPECT_EQ(obstacles({.every = 9}, 8),
            std::vector<std::string>{"mining replaces nothing: the run has 8 steps, and the first check comes after 9"});
  EXPECT_TRUE(obstacles({.every = 8}, 8).empty());
}

TEST(MiningReach, ListsThatEndWithTheFirstWindowAreNamed) {
  const auto fewest = [](HardNegativesConfig mining) {
    mining.every = 2;
    int64_t most = 1;
    while (!obstacles(mining, 8, most).empty()) ++most;
    // The rule itself: with so many negatives, and not with fewer, something takes the place of what became easy.
    for (const int64_t available : {most - 1, most}) {
      HardNegatives rule(mining);
      std::vector<int32_t> ranking(static_cast<size_t>(available));
      const NegativeEvent easy{.row = 3, .available = available, .score = 0.1};
      EXPECT_EQ(rule.replace(std::span(&easy, 1), {{3, ranking}}).replaced, available == most ? 1 : 0) << available;
    }
    return most;
  };
  EXPECT_EQ(fewest({.negatives = 8}), 18);
  EXPECT_EQ(fewest({.negatives = 8, .rule = MiningRule::each}), 11);
  EXPECT_EQ(fewest({.negatives = 12, .rule = MiningRule::each}), 13);
  EXPECT_EQ(fewest({.negatives = 8, .refill = MiningRefill::remine}), 9);
  EXPECT_EQ(fewest({.negatives = 4, .first_end = 0}), 4);
}

TEST(MiningReach, LimitsOnDotProductsAreAskedAbout) {
  const Plan plan({.global_batch = 16, .batches = 8}, {{.name = "a", .rows = 64}});
  EXPECT_EQ(mining_warnings({.every = 2}, Similarity::dot, plan, 8, 40),
            std::vector<std::string>{"mining scores by dot products, as the model folder says: is mean_limit 0.8 meant for them?"});
}

TEST(MiningReach, NegativesThatAreLeftOutAreCountedInWords) {
  EXPECT_EQ(describe_left_out({}), "");
  EXPECT_EQ(describe_left_out({1, 1, 9}), "in 1 row a positive stands among the negatives; 1 negative is left out");
  EXPECT_EQ(describe_left_out({640, 64, 30}), "in 64 rows a positive stands among the negatives; 640 negatives are left out");
}

}  // namespace
}  // namespace lodestone
