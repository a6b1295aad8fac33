// Is what check and train say of negatives per query what each source and team really gets?
#include "launch/training/batch_kinds.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace lodestone {
namespace {

TaskConfig task(int64_t global_batch, int64_t group, const LossOptions& loss) {
  TaskConfig t;
  t.global_batch = global_batch;
  t.data.train_group_size = group;
  t.loss.terms = {{loss}};
  return t;
}

const InfoNceOptions across_ranks{}, on_one_rank{.candidates = Candidates::this_rank};

TEST(BatchKinds, HalfBatchesAndSourcesWithoutInBatchNegativesAreToldApart) {
  const std::vector<PlanSource> sources{{.name = "a", .batch = 16},
                                        {.name = "sts", .batch = 8},
                                        {.name = "b", .batch = 16},
                                        {.name = "class", .batch = 16, .in_batch_negatives = false},
                                        {.name = "code", .batch = 16, .group = 2}};
  const std::vector<int64_t> teams{2};
  const std::vector<BatchKind> kinds = batch_kinds(task(16, 3, across_ranks), sources, teams);
  ASSERT_EQ(kinds.size(), 4u);
  EXPECT_EQ(kinds[0].sources, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(kinds[0].most.of_query, 47);
  EXPECT_EQ(kinds[1].queries, 8);
  EXPECT_EQ(kinds[1].most.of_query, 23);
  EXPECT_EQ(kinds[2].most.of_query, 2);
  EXPECT_EQ(kinds[3].passages, 2);
  EXPECT_EQ(kinds[3].most.of_query, 31);
  EXPECT_EQ(describe(kinds, ObjectiveKind::embedding, Layout::colocated, teams)[1],
            "8 queries x 3 passages over all ranks, 23 negatives per query: sts");
}

TEST(BatchKinds, NegativesOfOneRankFollowTheRowsThatRanksHave) {
  const std::vector<int64_t> three{3}, twenty{20};
  const std::vector<BatchKind> kinds = batch_kinds(task(10, 2, on_one_rank), {}, three);  // 4, 3 and 3 queries
  ASSERT_EQ(kinds.size(), 1u);
  EXPECT_EQ(kinds[0].fewest.of_query, 5);
  EXPECT_EQ(kinds[0].most.of_query, 7);
  EXPECT_EQ(describe(kinds, ObjectiveKind::embedding, Layout::colocated, three)[0],
            "10 queries x 2 passages over all ranks, 5 to 7 negatives per query");
  EXPECT_EQ(batch_kinds(task(10, 2, on_one_rank), {}, twenty)[0].fewest.of_query, 1) << "ranks without rows do not count";
}

TEST(BatchKinds, PositivesHaveNegativesInGteAndInBothDirections) {
  const std::vector<int64_t> two{2};
  const auto line = [&](const LossOptions& loss) {
    return describe(batch_kinds(task(16, 3, loss), {}, two), ObjectiveKind::embedding, Layout::colocated, two)[0];
  };
  const std::string batch = "16 queries x 3 passages over all ranks, ";
  // 47 passages and 15 queries; 15 queries and 15 positives, or all 45 passages of those.
  EXPECT_EQ(line(GteOptions{}), batch + "62 negatives per query, 30 per positive");
  EXPECT_EQ(line(GteOptions{.positive_rivals = PositiveRivals::all_passages}), batch + "62 negatives per query, 60 per positive");
  EXPECT_EQ(line(GteOptions{.candidates = Candidates::own_group}), batch + "2 negatives per query");
  EXPECT_EQ(line(GteOptions{.candidates = Candidates::this_rank}), batch + "30 negatives per query, 14 per positive");
  EXPECT_EQ(line(InfoNceOptions{.direction = Direction::both}), batch + "47 negatives per query, 15 per positive");
  EXPECT_EQ(line(CbbOptions{}), batch + "32 negatives per query");
}

TEST(BatchKinds, SourcesWhoseQueriesAreComparedWithNothingAreRefused) {
  const auto verdict = [](const TaskConfig& t, PlanSource source, ObjectiveKind objective = ObjectiveKind::embedding,
                          int64_t ranks = 2) -> std::string {
    RunConfig config;
    config.objective.kind = objective;
    const std::vector<int64_t> teams{ranks};
    const std::vector<PlanSource> sources{std::move(source)};
    try {
      require_comparisons(config, t, sources, teams);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::usage);
      EXPECT_FALSE(error.remedy().empty());
      return error.what();
    }
    return "";
  };
  const PlanSource plain{.name = "s", .batch = 8}, alone{.name = "s", .batch = 8, .in_batch_negatives = false},
      one{.name = "s", .batch = 8, .group = 1}, alone_of_two{.name = "s", .batch = 8, .group = 2, .in_batch_negatives = false},
      single{.name = "s", .batch = 1};
  const std::string what = "data: queries of the source s are compared with nothing: its groups are of 1 passage, ";
  EXPECT_EQ(verdict(task(8, 1, across_ranks), plain), "");
  EXPECT_EQ(verdict(task(8, 1, across_ranks), alone), what + "and it has no in-batch negatives");
  EXPECT_EQ(verdict(task(8, 3, across_ranks), alone), "");
  EXPECT_EQ(verdict(task(8, 3, across_ranks), alone_of_two), "");
  EXPECT_EQ(verdict(task(2, 1, across_ranks), single), what + "and no other query's passages are candidates") << "half a batch of 2";
  EXPECT_EQ(verdict(task(8, 1, on_one_rank), plain, ObjectiveKind::embedding, 7), "") << "one rank has 2";
  EXPECT_NE(verdict(task(8, 1, on_one_rank), plain, ObjectiveKind::embedding, 8), "");
  EXPECT_EQ(verdict(task(8, 3, StabilisedOptions{}), one), "") << "a contrastive loss, with in-batch negatives";
  EXPECT_EQ(verdict(task(8, 1, CosentOptions{}), alone), "") << "pairs are compared with pairs";
  EXPECT_EQ(verdict(task(8, 3, across_ranks), one, ObjectiveKind::reranker), what + "and no other query's passages are candidates");
  EXPECT_EQ(verdict(task(8, 3, across_ranks), plain, ObjectiveKind::reranker), "");
  EXPECT_EQ(verdict(task(8, 1, across_ranks), alone, ObjectiveKind::retromae), "");
}

TEST(BatchKinds, ARankOfAGroupSharesTheBatchWithItsTeamAlone) {
  ScheduleConfig schedule{.tasks = {{.name = "retrieval", .ranks = 4, .cost = 100}, {.name = "sts", .ranks = 1, .cost = 1}},
                          .groups = 3,
                          .layout = Layout::grouped};
  const std::vector<int64_t> teams = team_sizes(schedule, 0, 16);  // three times 4 + 1, one left over
  EXPECT_EQ(teams, (std::vector<int64_t>{5, 4, 4}));
  const std::vector<BatchKind> kinds = batch_kinds(task(20, 1, on_one_rank), {}, teams);
  EXPECT_EQ(kinds[0].fewest.of_query, 3);
  EXPECT_EQ(kinds[0].most.of_query, 4);
  EXPECT_EQ(describe(kinds, ObjectiveKind::embedding, Layout::grouped, teams)[0],
            "20 queries x 1 passage over 4 to 5 ranks, 3 to 4 negatives per query");
  EXPECT_EQ(team_sizes(schedule, 0, 14), (std::vector<int64_t>{8, 4})) << "two groups on eight ranks, one after another";
  EXPECT_EQ(team_sizes(schedule, 1, 5), std::vector<int64_t>{1});
  EXPECT_THROW(team_sizes(schedule, 0, 4), Error);
  EXPECT_EQ(describe_groups(schedule, 16), "3");
  EXPECT_EQ(describe_groups(schedule, 14), "3, 2 at a time");
  schedule.layout = Layout::colocated;
  EXPECT_EQ(describe_groups(schedule, 14), "");
  EXPECT_EQ(team_sizes(schedule, 1, 14), std::vector<int64_t>{14});
}

TEST(BatchKinds, OtherObjectivesNameTheirBatchesOtherwise) {
  const std::vector<int64_t> teams{2};
  const std::vector<BatchKind> kinds = batch_kinds(task(8, 4, across_ranks), {}, teams);
  EXPECT_EQ(describe(kinds, ObjectiveKind::retromae, Layout::colocated, teams)[0], "8 texts over all ranks");
  EXPECT_EQ(describe(kinds, ObjectiveKind::reranker, Layout::colocated, teams)[0],
            "8 queries x 4 pairs over all ranks, 3 negatives per query");
}

}  // namespace
}  // namespace lodestone
