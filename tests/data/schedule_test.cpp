// Does a schedule give every task its batches, in order and in proportion, and do teams cover all ranks?
#include "data/schedule.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>

#include "core/error.h"

namespace lodestone {
namespace {

std::vector<StepPart> parts(const Schedule& schedule, int64_t step) {
  std::vector<StepPart> out;
  schedule.parts(step, out);
  return out;
}

ScheduleConfig two_tasks(TaskMix mix) {
  return {.tasks = {{.name = "retrieval", .share = 3, .ranks = 4, .cost = 40}, {.name = "sts", .weight = 0.8, .share = 1, .ranks = 1, .cost = 32}}, .steps = 40, .seed = 5, .mix = mix};
}

TEST(Schedule, JointStepsTrainEveryTaskOfEveryGroupOnce) {
  ScheduleConfig config = two_tasks(TaskMix::joint);
  config.groups = 3;
  config.accumulate = 2;
  const Schedule schedule(config);
  ASSERT_EQ(schedule.parts_per_step(), 12);
  std::vector<int64_t> next(2, 0);
  for (int64_t step = 0; step < config.steps; ++step) {
    const std::vector<StepPart> now = parts(schedule, step);
    ASSERT_EQ(now.size(), 12u);
    double weight[2] = {0, 0};
    for (size_t i = 0; i < now.size(); ++i) {
      EXPECT_EQ(now[i].task, static_cast<int32_t>(i % 2));
      EXPECT_EQ(now[i].group, static_cast<int32_t>(i / 2 % 3));
      EXPECT_EQ(now[i].draw, next[i % 2]++) << "every task takes its own batches one after the other";
      weight[i % 2] += now[i].weight;
    }
    EXPECT_NEAR(weight[0], 1, 1e-15);
    EXPECT_NEAR(weight[1], 0.8, 1e-15);
  }
  EXPECT_EQ(schedule.draws(0), next[0]);
  EXPECT_EQ(schedule.draws(1), next[1]);
}

TEST(Schedule, ADeckDealsExactProportionsAndRandomDrawsRoughOnes) {
  for (const TaskMix mix : {TaskMix::deck, TaskMix::random}) {
    ScheduleConfig config = two_tasks(mix);
    config.steps = mix == TaskMix::deck ? 42 : 4000;
    const Schedule schedule(config);
    std::vector<int64_t> next(2, 0);
    for (int64_t step = 0; step < config.steps; ++step) {
      const std::vector<StepPart> now = parts(schedule, step);
      ASSERT_EQ(now.size(), 1u);
      EXPECT_EQ(now[0].draw, next[static_cast<size_t>(now[0].task)]++) << "independent counters";
      EXPECT_EQ(now[0].weight, now[0].task == 0 ? 1.0 : 0.8);
      if (mix == TaskMix::deck && step % 4 == 3) {
        EXPECT_EQ(next[0], 3 * next[1]) << "after each round of the deck";
      }
    }
    EXPECT_EQ(schedule.draws(0), next[0]);
    EXPECT_EQ(schedule.draws(1), next[1]);
    if (mix == TaskMix::random) {   // 3 standard deviations of a binomial count
      EXPECT_NEAR(static_cast<double>(next[0]), 3000, 3 * 27.4);
    }
  }
}

TEST(Schedule, MeanWeightsAreThoseOfWholeDecks) {
  EXPECT_EQ(Schedule(two_tasks(TaskMix::joint)).mean_weight(1), 0.8);
  const Schedule deck(two_tasks(TaskMix::deck));
  double weight[2] = {0, 0};
  for (int64_t step = 0; step < deck.config().steps; ++step)
    for (const StepPart& part : parts(deck, step)) weight[part.task] += part.weight;
  for (int32_t t = 0; t < 2; ++t) EXPECT_NEAR(deck.mean_weight(t), weight[t] / 40, 1e-12);
}

TEST(Schedule, AnyStepCanBeAskedForAlone) {
  for (const TaskMix mix : {TaskMix::joint, TaskMix::deck, TaskMix::random}) {
    const Schedule first(two_tasks(mix)), second(two_tasks(mix));
    (void)parts(first, 3);
    for (const int64_t step : {39, 0, 17}) EXPECT_EQ(parts(first, step)[0].draw, parts(second, step)[0].draw);
  }
}

TEST(Schedule, TheOrderOfADeckDependsOnSeedAndRound) {
  ScheduleConfig config = two_tasks(TaskMix::deck);
  std::map<std::vector<int32_t>, int> seen;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    config.seed = seed;
    const Schedule schedule(config);
    std::vector<int32_t> order;
    for (int64_t step = 0; step < 40; ++step) order.push_back(parts(schedule, step)[0].task);
    ++seen[order];
  }
  EXPECT_EQ(seen.size(), 8u);
}

TEST(Teams, ColocatedIsOneTeamOfAll) {
  const std::vector<Team> teams = form_teams(two_tasks(TaskMix::joint), 7);
  ASSERT_EQ(teams.size(), 1u);
  EXPECT_EQ(teams[0].ranks, 7);
  EXPECT_TRUE(takes(teams[0], {.task = 1, .group = 2}));
}

TEST(Teams, SixteenRanksAreThreeGroupsOfFourAndOneAndOneHelper) {
  ScheduleConfig config = two_tasks(TaskMix::joint);
  config.layout = Layout::grouped;
  config.groups = 3;
  const std::vector<Team> teams = form_teams(config, 16);
  ASSERT_EQ(teams.size(), 6u);
  int64_t ranks = 0;
  for (size_t i = 0; i < teams.size(); ++i) {
    EXPECT_EQ(teams[i].group, static_cast<int32_t>(i / 2));
    EXPECT_EQ(teams[i].task, static_cast<int32_t>(i % 2));
    // 40 / 4 a rank against 32 / 1: the helper joins the first group's sts rank.
    EXPECT_EQ(teams[i].ranks, i == 1 ? 2 : (i % 2 == 0 ? 4 : 1));
    ranks += teams[i].ranks;
  }
  EXPECT_EQ(ranks, 16);
  EXPECT_FALSE(takes(teams[1], {.task = 0, .group = 0}));
  EXPECT_FALSE(takes(teams[1], {.task = 1, .group = 1}));
  EXPECT_TRUE(takes(teams[1], {.task = 1, .group = 0}));
}

TEST(Teams, FewerRanksThanOneGroupAreRefusedNamingColocated) {
  ScheduleConfig config = two_tasks(TaskMix::joint);
  config.layout = Layout::grouped;
  try {
    (void)form_teams(config, 4);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::usage);
    EXPECT_NE(error.remedy().find("colocated"), std::string::npos);
  }
}

TEST(Schedule, RefusesImpossibleValues) {
  EXPECT_THROW(Schedule({}), Error);
  ScheduleConfig grouped = two_tasks(TaskMix::deck);
  grouped.layout = Layout::grouped;
  EXPECT_THROW(Schedule{grouped}, Error);
  ScheduleConfig weightless = two_tasks(TaskMix::joint);
  weightless.tasks[0].weight = 0;
  EXPECT_THROW(Schedule{weightless}, Error);
}

}  // namespace
}  // namespace lodestone
