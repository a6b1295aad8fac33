// Does a schedule give every task its batches, in order and in proportion, and do teams cover all ranks?
#include "data/plan/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
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
  return {.tasks = {{.name = "retrieval", .share = 3, .ranks = 4, .cost = 40},
                    {.name = "sts", .weight = 0.8, .share = 1, .ranks = 1, .cost = 32}},
          .steps = 40,
          .seed = 5,
          .mix = mix};
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
    if (mix == TaskMix::random) {  // 3 standard deviations of a binomial count
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

/// Both tasks in every step, on ranks divided into three groups of 4 + 1.
ScheduleConfig three_groups() {
  ScheduleConfig config = two_tasks(TaskMix::joint);
  config.layout = Layout::grouped;
  config.groups = 3;
  return config;
}

TEST(Teams, ColocatedIsOneTeamOfAll) {
  const std::vector<Team> teams = form_teams(two_tasks(TaskMix::joint), 7);
  ASSERT_EQ(teams.size(), 1u);
  EXPECT_EQ(teams[0].ranks, 7);
  EXPECT_TRUE(takes(teams[0], {.task = 1, .group = 2}));
}

TEST(Teams, SixteenRanksAreThreeGroupsOfFourAndOneAndOneHelper) {
  const ScheduleConfig config = three_groups();
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

TEST(Teams, EveryPartHasExactlyOneTeamOnAnyNumberOfRanksFromOneGroupUp) {
  ScheduleConfig config = two_tasks(TaskMix::joint);
  config.layout = Layout::grouped;
  config.accumulate = 2;
  for (config.groups = 1; config.groups <= 4; ++config.groups) {
    const std::vector<StepPart> step = parts(Schedule(config), 3);
    for (int world = 5; world <= 24; ++world) {
      const std::vector<Team> teams = form_teams(config, world);
      EXPECT_EQ(teams.size(), 2 * static_cast<size_t>(std::min<int64_t>(config.groups, world / 5)))
          << config.groups << " groups, " << world << " ranks";
      int64_t ranks = 0;
      for (const Team& team : teams) {
        EXPECT_GE(team.ranks, config.tasks[static_cast<size_t>(team.task)].ranks);
        ranks += team.ranks;
        EXPECT_TRUE(std::any_of(step.begin(), step.end(), [&](const StepPart& part) { return takes(team, part); })) << "no team is idle";
      }
      EXPECT_EQ(ranks, world);
      for (const StepPart& part : step)
        EXPECT_EQ(std::count_if(teams.begin(), teams.end(), [&](const Team& team) { return takes(team, part); }), 1)
            << config.groups << " groups, " << world << " ranks";
    }
  }
}

TEST(Teams, FewerRanksThanAllGroupsHaveTakeSeveralEach) {
  const ScheduleConfig config = three_groups();
  const std::vector<Team> five = form_teams(config, 5);
  ASSERT_EQ(five.size(), 2u);
  for (int32_t group = 0; group < 3; ++group)
    EXPECT_TRUE(takes(five[0], {.task = 0, .group = group}) && takes(five[1], {.task = 1, .group = group}));
  const std::vector<Team> teams = form_teams(config, 14);  // 4 + 1 twice, and four left over
  ASSERT_EQ(teams.size(), 4u);
  for (const size_t i : {0u, 1u, 2u, 3u}) {
    const auto task = static_cast<int32_t>(i % 2);
    EXPECT_EQ(takes(teams[i], {.task = task, .group = 0}), i < 2);
    EXPECT_EQ(takes(teams[i], {.task = task, .group = 1}), i >= 2);
    EXPECT_EQ(takes(teams[i], {.task = task, .group = 2}), i < 2);
    // Costs 2 x 40, 2 x 32, 40 and 32: the first set's sts rank gets three of the four, the second's one.
    EXPECT_EQ(teams[i].ranks, (std::vector<int64_t>{4, 4, 4, 2})[i]);
  }
}

TEST(Teams, FewerRanksThanOneGroupAreRefusedNamingColocated) {
  const ScheduleConfig config = three_groups();
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
