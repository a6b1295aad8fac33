// Are rows refused that lack what a task's loss or groups need, or that may not share a batch, before a run begins?
#include "launch/training/row_kinds.h"

#include <gtest/gtest.h>

#include "tests/data/batches/fake_rows.h"

namespace lodestone {
namespace {

using test::FakeRow;
using test::FakeRows;

/// Two sources of 20 rows; `change` makes the second differ from the first, which has neither gold nor teacher scores.
std::vector<FakeRow> two_sources(void (*change)(FakeRow&)) {
  std::vector<FakeRow> rows = test::make_rows(40, 1, 2);
  for (size_t r = 20; r < 40; ++r) {
    rows[r].source = 1;
    change(rows[r]);
  }
  return rows;
}
void nothing(FakeRow&) {}
void teach(FakeRow& row) { row.teacher_scores = {3, 2, 1}; }
void score(FakeRow& row) { row.score = 0.5; }

std::string verdict(const std::vector<FakeRow>& made, const LossOptions& loss, const PlanConfig& plan = {.global_batch = 4, .batches = 9},
                    ObjectiveConfig objective = {}, const CollateConfig& collate = {}, std::optional<double> positive_score_min = {}) {
  RunConfig config;
  config.objective = objective;
  TaskConfig task{.data = {}, .loss = {.terms = {{loss}}}, .mining = {}};
  task.data.filter.positive_score_min = positive_score_min;
  const FakeRows rows(made);
  try {
    require_fitting_rows(Plan(plan, plan_sources(rows.sources())), rows, row_needs(config, task, collate), *make_self_comm());
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::data);
    EXPECT_FALSE(error.remedy().empty());
    return cat(error.what(), error.where().empty() ? "" : "; ", error.where());
  }
  return "fits";
}

const PlanConfig mixed{.global_batch = 4, .batches = 9, .batching = Batching::mixed};

TEST(RowKinds, LossesFindTheScoresThatTheyRead) {
  const auto plain = two_sources(nothing), taught = two_sources(teach), scored = two_sources(score);
  const PlanConfig second{.global_batch = 4, .batches = 9, .only = {"s1"}};
  EXPECT_EQ(verdict(plain, InfoNceOptions{}), "fits");
  for (const LossOptions& loss :
       {LossOptions(GroupDistillationOptions{}), LossOptions(StabilisedOptions{}), LossOptions(MarginMseOptions{})}) {
    EXPECT_EQ(verdict(taught, loss, second), "fits");
    const std::string refused = verdict(taught, loss);  // batches are of one source, and the first has none
    EXPECT_TRUE(refused.starts_with("the row has no teacher scores, which the loss reads (")) << refused;
    EXPECT_TRUE(refused.ends_with("; row=0 source=s0")) << refused;
  }
  EXPECT_EQ(verdict(scored, CosentOptions{}, second), "fits");
  EXPECT_EQ(verdict(plain, CosentOptions{}, second).substr(0, 26), "the row has no gold score,");
  const ObjectiveConfig distilled{.kind = ObjectiveKind::reranker, .reranker = {.distillation_weight = 1}};
  EXPECT_EQ(verdict(taught, InfoNceOptions{}, second, distilled), "fits");
  EXPECT_NE(verdict(plain, InfoNceOptions{}, second, distilled), "fits");
}

TEST(RowKinds, OneRowOfManyThatLacksSomethingIsFoundBeforeTheFirstStep) {
  const PlanConfig few{.global_batch = 4, .batches = 1};  // no batch of the run need have the row
  const auto with = [&](const LossOptions& loss, void (*all)(FakeRow&), void (*one)(FakeRow&), const CollateConfig& collate = {},
                        ObjectiveConfig objective = {}) {
    std::vector<FakeRow> rows = two_sources(nothing);
    for (FakeRow& row : rows) all(row);
    one(rows[33]);
    return verdict(rows, loss, few, objective, collate, 0.0);
  };
  const auto no_negatives = [](FakeRow& row) { row.negatives.clear(); };
  const auto no_positives = [](FakeRow& row) { row.positives.clear(); };
  const auto untaught = [](FakeRow& row) { row.teacher_scores.clear(); };
  const auto unscored = [](FakeRow& row) { row.score = std::nan(""); };
  const std::string there = "; row=33 source=s1";
  EXPECT_EQ(with(InfoNceOptions{}, nothing, no_negatives), "fits") << "groups of 1 need none";
  EXPECT_EQ(with(InfoNceOptions{}, nothing, no_negatives, {.group = 3}), "the row has no negative, but each query takes 2" + there);
  EXPECT_EQ(with(InfoNceOptions{}, nothing, no_negatives, {.group = 3, .source_groups = {3, 1}}), "fits")
      << "nor does a source with such groups";
  EXPECT_EQ(with(InfoNceOptions{}, nothing, no_positives), "the row has no positive" + there);
  EXPECT_EQ(with(GroupDistillationOptions{}, teach, untaught).substr(0, 30), "the row has no teacher scores,");
  EXPECT_EQ(with(InfoNceOptions{}, teach, untaught), "the row has no teacher scores, other rows of its source have" + there);
  EXPECT_EQ(with(InfoNceOptions{}, nothing, teach), "the row has teacher scores, other rows of its source have none" + there);
  EXPECT_EQ(with(CosentOptions{}, score, unscored).substr(0, 26), "the row has no gold score,");
  EXPECT_EQ(with(InfoNceOptions{}, score, unscored), "the row has no gold score, other rows of its source have" + there);
  EXPECT_EQ(with(InfoNceOptions{}, nothing, [](FakeRow& row) { row.teacher_scores = {1}; }),
            "the row has 1 teacher scores for 3 passages" + there);
  const auto alone = [](FakeRow& row) { row.positives = row.negatives = {}; };
  const ObjectiveConfig retromae{.kind = ObjectiveKind::retromae};
  EXPECT_EQ(with({}, alone, nothing, {}, retromae), "fits") << "it reads no scores";
  EXPECT_EQ(with(
                {}, alone, [](FakeRow& row) { row.positives = {{7}}; }, {}, retromae),
            "the row has passages; RetroMAE trains on single texts" + there);
}

TEST(RowKinds, PositivesAmongNegativesAreCountedWhereNegativesAreChosen) {
  std::vector<FakeRow> made = two_sources(nothing);
  for (const size_t r : {3u, 25u, 26u}) made[r].negatives[1] = made[r].positives[0];
  made[26].negatives.push_back(made[26].positives[0]);
  made[30].negatives.push_back({4});
  const FakeRows rows(made);
  const Plan plan(mixed, plan_sources(rows.sources()));
  const auto count = [&](const CollateConfig& collate) {
    return require_fitting_rows(plan, rows, row_needs({}, {.data = {}, .loss = {.terms = {{InfoNceOptions{}}}}, .mining = {}}, collate),
                                *make_self_comm());
  };
  const DrawnNegatives counts = count({.group = 2});
  EXPECT_EQ(counts.left_out, 4);
  EXPECT_EQ(counts.rows, 3);
  EXPECT_EQ(counts.most, 3);
  EXPECT_EQ(count({.group = 1}).left_out, 0) << "no negative is used";
  EXPECT_EQ(count({.group = 2, .source_groups = {2, 1}}).left_out, 1) << "nor of the second source";
}

TEST(RowKinds, ScoredPairsAreNoPositivesUntilAScoreSaysSo) {
  const std::vector<FakeRow> scored = two_sources(score);
  const auto refused = [](const std::string& reader) {
    return cat("the pair has a gold score, which is not read here (", reader,
               "): every pair would be a positive, whatever its score; row=20 source=s1");
  };
  const PlanConfig second{.global_batch = 4, .batches = 9, .only = {"s1"}};
  EXPECT_EQ(verdict(scored, InfoNceOptions{}, second), refused("InfoNCE, temperature 0.05"));
  EXPECT_EQ(verdict(scored, InfoNceOptions{}, second, {.kind = ObjectiveKind::reranker}, {.group = 2}), refused("a reranker"));
  EXPECT_EQ(verdict(scored, InfoNceOptions{}, second, {}, {}, 0.5), "fits");
  EXPECT_EQ(verdict(scored, CosentOptions{}, second), "fits");
  EXPECT_EQ(verdict(scored, InfoNceOptions{}, second, {}, {.purpose = Purpose::evaluation}), "fits") << "held-out pairs are correlated";
  EXPECT_EQ(verdict(scored, InfoNceOptions{}, second, {.kind = ObjectiveKind::reranker}, {.group = 2, .purpose = Purpose::evaluation}),
            refused("a reranker"))
      << "it correlates nothing";
}

TEST(RowKinds, RowsThatThePlanNeverDrawsAreNotJudged) {
  std::vector<FakeRow> rows = two_sources(nothing);
  rows[33].positives.clear();
  EXPECT_EQ(verdict(rows, InfoNceOptions{}, {.global_batch = 4, .batches = 9, .only = {"s0"}}), "fits");
  const auto of_one = [&](int64_t seed) {  // 4 of its 20 rows are kept
    return verdict(
        rows, InfoNceOptions{},
        {.global_batch = 4, .batches = 9, .seed = static_cast<uint64_t>(seed), .only = {"s1"}, .rules = {{.match = "s1", .max_rows = 4}}});
  };
  int refused = 0;
  for (int64_t seed = 0; seed < 100; ++seed) refused += of_one(seed) != "fits";
  EXPECT_NEAR(refused, 20, 16) << "4 sigma";
}

TEST(RowKinds, ABatchOfMixedTasksIsRefused) {
  EXPECT_EQ(verdict(two_sources(nothing), InfoNceOptions{}, mixed), "fits");
  EXPECT_EQ(verdict(two_sources(teach), InfoNceOptions{}), "fits") << "a batch is of one source";
  EXPECT_EQ(verdict(two_sources(teach), InfoNceOptions{}, mixed),
            "a batch would mix rows of different tasks: source s1 has teacher scores, source s0 has none");
  EXPECT_EQ(verdict(two_sources(score), InfoNceOptions{}, mixed, {}, {}, 0.5),
            "a batch would mix rows of different tasks: source s1 has gold scores, source s0 has none");
  // So does merging small sources into one.
  EXPECT_EQ(verdict(two_sources(teach), InfoNceOptions{}, {.global_batch = 30, .batches = 9, .small_sources = SmallSources::merge}),
            "a batch would mix rows of different tasks: source s1 has teacher scores, source s0 has none");
}

TEST(RowKinds, ATaskWithoutRowsIsRefused) {
  const std::vector<CorpusSource> all{{"qa", 40}, {"tool", 20}}, half{{"qa", 0}, {"tool", 20}}, none{{"qa", 0}, {"tool", 0}};
  TaskConfig task;
  EXPECT_NO_THROW(require_rows(task, all, all));
  EXPECT_NO_THROW(require_rows(task, all, half));
  EXPECT_THROW(require_rows(task, all, none), Error);
  task.data.sources = {"qa*"};
  EXPECT_NO_THROW(require_rows(task, all, all));
  try {
    require_rows(task, all, half);
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "no row is left to train on: the filters leave out all 40");
    EXPECT_EQ(error.exit_code(), ExitCode::data);
  }
  task.data.sources = {"icl"};
  EXPECT_NO_THROW(require_rows(task, all, all)) << "a source that does not exist is the plan's to name";
}

}  // namespace
}  // namespace lodestone
