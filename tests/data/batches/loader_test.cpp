// Does the loader hand out the plan's batches in order, without allocating, and pass on failures?
#include "data/batches/loader.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <sstream>
#include <thread>
#include <utility>

#include "data/batches/heldout.h"
#include "data/batches/plan_print.h"
#include "launch/console/allocations.h"
#include "tests/data/batches/fake_rows.h"
#include "tests/data/batches/one_task.h"
#include "tests/data/plan/plan_support.h"

namespace lodestone {
namespace {

using test::FakeRow;
using test::FakeRows;
using test::make_rows;
using test::OneTaskLoader;

const Framing plain{101, 102, {}, {}, {}};

std::vector<FakeRow> two_sources() {
  std::vector<FakeRow> rows = make_rows(60, 2, 3);
  for (size_t r = 0; r < rows.size(); ++r) rows[r].source = r % 3 == 0 ? 1 : 0;
  return rows;
}

Plan make_plan(const RowSource& rows, PlanConfig config) { return Plan(std::move(config), plan_sources(rows.sources())); }

/// Rows of which each takes a while to read.
class SlowRows final : public RowSource {
 public:
  explicit SlowRows(const RowSource& rows) : rows_(rows) {}
  int64_t rows() const override { return rows_.rows(); }
  const std::vector<CorpusSource>& sources() const override { return rows_.sources(); }
  const std::vector<std::string>& prompts() const override { return rows_.prompts(); }
  int64_t row_of(int32_t source, int64_t k) const override { return rows_.row_of(source, k); }
  void read(int64_t row, PackedRow& out) const override {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    ++reads;
    rows_.read(row, out);
  }
  mutable std::atomic<int64_t> reads{0};

 private:
  const RowSource& rows_;
};

TEST(Loader, GivesThePlansBatchesInOrderForEveryRank) {
  const FakeRows rows(two_sources());
  const Plan plan = make_plan(rows, {.global_batch = 7, .batches = 60, .seed = 9});
  const CollateConfig config{.group = 2, .seed = 9};
  for (int world = 1; world <= 3; ++world) {
    for (int rank = 0; rank < world; ++rank) {
      OneTaskLoader loader(plan, rows, Collator(config, plain), rank, world, 0, 2);
      for (int64_t step = 0; step < 30; ++step) {
        for (int64_t part = 0; part < 2; ++part) {
          const Batch& batch = loader.take(step);
          const Part expected = batch_of(plan, 2 * step + part);
          const RankRows mine = rank_rows(7, rank, world);
          ASSERT_EQ(batch.queries, mine.end - mine.begin);
          EXPECT_EQ(batch.source, expected.source);
          std::vector<int64_t> ids;
          for (const int64_t k : expected.rows) ids.push_back(rows.row_of(expected.source, k));
          EXPECT_EQ(batch.rows, std::vector<int64_t>(ids.begin() + mine.begin, ids.begin() + mine.end));
          Batch direct;
          Collator(config, plain)
              .collate(rows, {.step = step, .source = expected.source, .rows = ids, .rank = rank, .world = world}, direct);
          EXPECT_EQ(batch.ids, direct.ids);
          EXPECT_EQ(batch.keys, direct.keys);
        }
      }
    }
  }
}

TEST(Loader, StartsAtAnyStep) {
  const FakeRows rows(two_sources());
  const Plan plan = make_plan(rows, {.global_batch = 4, .batches = 20});
  OneTaskLoader from_start(plan, rows, Collator({}, plain), 0, 1, 0), resumed(plan, rows, Collator({}, plain), 0, 1, 12);
  for (int64_t step = 0; step < 12; ++step) (void)from_start.take(step);
  for (int64_t step = 12; step < 20; ++step) EXPECT_EQ(from_start.take(step).ids, resumed.take(step).ids);
  EXPECT_THROW((void)resumed.take(20), Error) << "the plan has ended";
}

TEST(Loader, RefusesPartsOutOfOrder) {
  const FakeRows rows(two_sources());
  const Plan plan = make_plan(rows, {.global_batch = 4, .batches = 20});
  OneTaskLoader loader(plan, rows, Collator({}, plain), 0, 1, 0);
  (void)loader.take(0);
  EXPECT_THROW((void)loader.take(2), Error);
}

TEST(Loader, RanksBeyondTheRowsOfABatchGetEmptyOnes) {
  const FakeRows rows(two_sources());
  const Plan plan = make_plan(rows, {.global_batch = 4, .batches = 20});
  OneTaskLoader loader(plan, rows, Collator({}, plain), 4, 5, 0);
  for (int64_t step = 0; step < 20; ++step) {
    const Batch& batch = loader.take(step);
    EXPECT_EQ(batch.queries, 0);
    EXPECT_EQ(batch.global_queries, 4);
    EXPECT_TRUE(batch.ids.empty());
  }
}

TEST(Loader, GivesATeamTheBatchesOfItsTask) {
  const FakeRows rows(two_sources());
  const Plan first = make_plan(rows, {.global_batch = 4, .batches = 20, .task = "a"}),
             second = make_plan(rows, {.global_batch = 6, .batches = 20, .task = "b"});
  const Schedule schedule({.tasks = {{.name = "a"}, {.name = "b"}}, .steps = 10, .groups = 2, .layout = Layout::grouped});
  for (int32_t group = 0; group < 2; ++group) {
    std::vector<BatchStream> streams;
    streams.emplace_back(first, rows, std::make_unique<Collator>(CollateConfig{}, plain), 0, 1);
    streams.emplace_back(second, rows, std::make_unique<Collator>(CollateConfig{}, plain), 0, 1);
    Loader loader(schedule, {.task = 1, .group = group, .stride = 2, .ranks = 1}, std::move(streams), 0);
    for (int64_t step = 0; step < 10; ++step) {
      const Batch& batch = loader.take(step, 1);
      const Part expected = batch_of(second, 2 * step + group);
      ASSERT_EQ(batch.queries, 6);
      for (size_t i = 0; i < 6; ++i) EXPECT_EQ(batch.rows[i], rows.row_of(expected.source, expected.rows[i]));
    }
  }
}

TEST(Loader, GivesATeamOfSeveralGroupsTheirBatchesInTheOrderOfTheStep) {
  const FakeRows rows(two_sources());
  const Plan plan = make_plan(rows, {.global_batch = 4, .batches = 60});
  const Schedule schedule({.tasks = {{.name = "only"}}, .steps = 10, .accumulate = 2, .groups = 3, .layout = Layout::grouped});
  std::vector<BatchStream> streams;
  streams.emplace_back(plan, rows, std::make_unique<Collator>(CollateConfig{}, plain), 0, 1);
  Loader loader(schedule, {.task = 0, .group = 0, .stride = 2, .ranks = 1}, std::move(streams), 0);
  for (int64_t step = 0; step < 10; ++step) {
    for (const int64_t draw : {0, 2, 3, 5}) {  // groups 0 and 2 of both rounds
      const Batch& batch = loader.take(step, 0);
      const Part expected = batch_of(plan, 6 * step + draw);
      ASSERT_EQ(batch.queries, 4);
      for (size_t i = 0; i < 4; ++i) EXPECT_EQ(batch.rows[i], rows.row_of(expected.source, expected.rows[i]));
    }
  }
}

TEST(Loader, MakesNothingOfAHeldStepBeforeItIsReleased) {
  const FakeRows rows(two_sources());
  const SlowRows counted(rows);
  const Plan plan = make_plan(rows, {.global_batch = 2, .batches = 20});
  const Schedule schedule = test::one_task(plan);
  std::vector<BatchStream> streams;
  streams.emplace_back(plan, counted, std::make_unique<Collator>(CollateConfig{}, plain), 0, 1);
  Loader loader(schedule, {.ranks = 1}, std::move(streams), 0, 3);
  for (int64_t step = 0; step < 3; ++step) (void)loader.take(step, 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(counted.reads, 6) << "steps 0, 1 and 2";
  loader.release(6);
  for (int64_t step = 3; step < 6; ++step) (void)loader.take(step, 0);
  EXPECT_EQ(counted.reads, 12);
}

TEST(Loader, RethrowsAfterTheBatchesThatWereGood) {
  FakeRows rows(two_sources());
  const Plan plan = make_plan(rows, {.global_batch = 4, .batches = 20});
  const Part fifth = batch_of(plan, 5);
  rows.fail_at = rows.row_of(fifth.source, fifth.rows[2]);
  for (int64_t step = 0; step < 5; ++step) {  // the row must not come earlier by chance
    const Part part = batch_of(plan, step);
    for (const int64_t k : part.rows) ASSERT_NE(rows.row_of(part.source, k), rows.fail_at);
  }
  OneTaskLoader loader(plan, rows, Collator({}, plain), 0, 1, 0);
  for (int64_t step = 0; step < 5; ++step) EXPECT_EQ(loader.take(step).queries, 4);
  try {
    (void)loader.take(5);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::data);
    EXPECT_EQ(error.where(), cat("row=", rows.fail_at, " step=5"));
  }
}

TEST(Loader, EndsCleanlyWhateverItIsDoing) {
  const FakeRows rows(two_sources());
  const Plan plan = make_plan(rows, {.global_batch = 4, .batches = 20});
  for (int64_t taken = 0; taken <= 20; ++taken) {
    OneTaskLoader loader(plan, rows, Collator({}, plain), 0, 1, 0);
    for (int64_t step = 0; step < taken; ++step) (void)loader.take(step);
  }
}

TEST(Loader, AllocatesNothingOnceEveryBufferWasUsed) {
  const FakeRows rows(two_sources());
  const Plan plan = make_plan(rows, {.global_batch = 8, .batches = 400});
  OneTaskLoader loader(plan, rows, Collator({.group = 4, .query_max_len = 16, .passage_max_len = 16}, plain), 0, 2, 0, 2);
  int64_t step = 0;
  for (; step < 20; ++step) (void)loader.take(step), (void)loader.take(step);
  const uint64_t before = heap_allocations();
  for (; step < 200; ++step) (void)loader.take(step), (void)loader.take(step);
  EXPECT_EQ(heap_allocations() - before, 0u);
}

TEST(Loader, MeasuresTheTimeThatTheTrainerWaits) {
  const FakeRows fast(two_sources());
  const SlowRows rows(fast);
  const Plan plan = make_plan(rows, {.global_batch = 5, .batches = 4});
  OneTaskLoader loader(plan, rows, Collator({}, plain), 0, 1, 0);
  for (int64_t step = 0; step < 4; ++step) (void)loader.take(step);
  EXPECT_GE(loader.stall_s(), 0.020);  // 20 rows of at least 2 ms; the thread had no head start worth mentioning
}

TEST(Loader, RunsTwoBatchesAhead) {
  const FakeRows fast(two_sources());
  const SlowRows rows(fast);
  const Plan plan = make_plan(rows, {.global_batch = 2, .batches = 20});
  OneTaskLoader loader(plan, rows, Collator({}, plain), 0, 1, 0);
  (void)loader.take(0);
  for (int wait = 0; wait < 1000 && rows.reads < 6; ++wait) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  EXPECT_EQ(rows.reads, 6) << "the batch in use and two more, no further";
}

TEST(HeldOut, CutsRowsInOrderIntoEvenBatches) {
  const FakeRows rows(make_rows(23, 1, 0));
  Collator collator({.purpose = Purpose::evaluation}, plain);
  for (int world = 1; world <= 3; ++world) {
    std::vector<std::vector<int64_t>> seen;
    for (int rank = 0; rank < world; ++rank) {
      const HeldOut held_out(rows, collator, {.global_batch = 8}, rank, world);
      EXPECT_EQ(held_out.global_rows(), 23);
      ASSERT_EQ(held_out.batches().size(), 3u);
      seen.resize(3);
      for (size_t i = 0; i < 3; ++i) {
        const Batch& batch = held_out.batches()[i];
        EXPECT_TRUE(batch.keys.empty());
        EXPECT_EQ(batch.first_query, static_cast<int64_t>(seen[i].size()));
        seen[i].insert(seen[i].end(), batch.rows.begin(), batch.rows.end());
      }
    }
    std::vector<int64_t> all;
    for (const auto& batch : seen) {
      EXPECT_GE(batch.size(), 7u);
      EXPECT_LE(batch.size(), 8u);
      all.insert(all.end(), batch.begin(), batch.end());
    }
    for (size_t i = 0; i < 23; ++i) EXPECT_EQ(all[i], static_cast<int64_t>(i));
  }
}

TEST(HeldOut, TakesRowsEvenlySpreadAndRefusesTooFew) {
  const FakeRows rows(make_rows(23, 1, 0));
  Collator collator({.purpose = Purpose::evaluation}, plain);
  const HeldOut some(rows, collator, {.max_rows = 10, .global_batch = 8}, 0, 1);
  EXPECT_EQ(some.global_rows(), 10);
  std::vector<int64_t> taken;
  for (const Batch& batch : some.batches()) taken.insert(taken.end(), batch.rows.begin(), batch.rows.end());
  EXPECT_EQ(taken, (std::vector<int64_t>{0, 2, 4, 6, 9, 11, 13, 16, 18, 20}));
  EXPECT_THROW(HeldOut(rows, collator, {.max_rows = 2, .global_batch = 8}, 0, 3), Error);
  EXPECT_THROW(HeldOut(FakeRows({}), collator, {.max_rows = 2, .global_batch = 8}, 0, 1), Error);
}

// two_sources() has 40 rows of s0 and 20 of s1, every third.
TEST(HeldOut, RowsWithoutInBatchNegativesHaveBatchesOfTheirOwnBehindTheOthers) {
  const FakeRows rows(two_sources());
  Collator collator({.purpose = Purpose::evaluation}, plain);
  const HeldOutConfig config{.max_rows = 30, .global_batch = 8, .rules = {{.match = "s1", .in_batch_negatives = false}}};
  for (int world = 1; world <= 3; ++world) {
    std::vector<std::vector<int64_t>> seen(5);
    for (int rank = 0; rank < world; ++rank) {
      const HeldOut held_out(rows, collator, config, rank, world);
      EXPECT_EQ(held_out.global_rows(), 30);
      ASSERT_EQ(held_out.batches().size(), 5u) << "20 rows and 10 rows";
      for (size_t i = 0; i < 5; ++i) {
        const Batch& batch = held_out.batches()[i];
        EXPECT_EQ(batch.pairs().in_batch_negatives, i < 3);
        seen[i].insert(seen[i].end(), batch.rows.begin(), batch.rows.end());
      }
    }
    std::vector<int64_t> with, without, taken;
    for (size_t i = 0; i < 5; ++i) {
      EXPECT_GE(seen[i].size(), i < 3 ? 6u : 5u);
      EXPECT_LE(seen[i].size(), i < 3 ? 7u : 5u);
      std::vector<int64_t>& kind = i < 3 ? with : without;
      kind.insert(kind.end(), seen[i].begin(), seen[i].end());
    }
    EXPECT_TRUE(std::is_sorted(with.begin(), with.end()));
    EXPECT_TRUE(std::is_sorted(without.begin(), without.end()));
    for (const int64_t row : with) EXPECT_NE(row % 3, 0);
    for (const int64_t row : without) EXPECT_EQ(row % 3, 0);
    std::merge(with.begin(), with.end(), without.begin(), without.end(), std::back_inserter(taken));
    for (size_t i = 0; i < 30; ++i) EXPECT_EQ(taken[i], static_cast<int64_t>(2 * i)) << "the same rows as without the rule";
  }
}

TEST(HeldOut, OnlyBatchesBehindOthersMayLeaveRanksWithoutRows) {
  std::vector<FakeRow> made = make_rows(10, 1, 0);
  made[4].source = 1;
  const FakeRows rows(made);
  Collator collator({.purpose = Purpose::evaluation}, plain);
  const std::vector<SourceRule> second{{.match = "s1", .in_batch_negatives = false}}, both{{.match = "*", .in_batch_negatives = false}};
  const HeldOut last(rows, collator, {.global_batch = 9, .rules = second}, 2, 3);
  ASSERT_EQ(last.batches().size(), 2u);
  EXPECT_EQ(last.batches()[0].queries, 3);
  EXPECT_EQ(last.batches()[1].queries, 0);
  EXPECT_EQ(last.batches()[1].global_queries, 1);
  EXPECT_THROW(HeldOut(rows, collator, {.only = {"s1"}, .global_batch = 9, .rules = second}, 2, 3), Error);
  EXPECT_EQ(HeldOut(rows, collator, {.global_batch = 10, .rules = both}, 2, 3).batches().size(), 1u);
}

// two_sources() again; some rows get scores.
TEST(HeldOut, RowsWithAndWithoutScoresHaveBatchesOfTheirOwn) {
  std::vector<FakeRow> made = make_rows(24, 1, 2);
  for (size_t r = 0; r < 24; ++r) {
    made[r].source = r < 12 ? 0 : 1;
    if (r >= 12) made[r].teacher_scores = {3, 2, 1};
    if (r % 2 == 1) made[r].score = 0.5;
  }
  const FakeRows rows(made);
  Collator collator({.group = 3, .source_groups = {3, 2}, .purpose = Purpose::evaluation}, plain);
  const RowNeeds needs{.candidates = {3}, .source_groups = {3, 2}};
  for (int world = 1; world <= 3; ++world)
    for (int rank = 0; rank < world; ++rank) {
      const HeldOut held_out(rows, collator, {.global_batch = 4, .needs = needs}, rank, world);
      ASSERT_EQ(held_out.batches().size(), 8u) << "4 kinds of 6 rows";
      for (size_t i = 0; i < 8; ++i) {
        const Batch& batch = held_out.batches()[i];
        EXPECT_EQ(batch.global_queries, 3);
        EXPECT_EQ(batch.group, i < 4 ? 3 : 2);
        EXPECT_EQ(batch.scores.empty(), i % 4 < 2);
        EXPECT_EQ(batch.teacher_scores.empty(), i < 4);
        for (const int64_t row : batch.rows) EXPECT_EQ((row >= 12 ? 4u : 0u) + (row % 2 == 1 ? 2u : 0u), i / 2 * 2);
      }
    }
}

TEST(HeldOut, RefusesRowsThatLackWhatIsAskedOnEveryRank) {
  std::vector<FakeRow> made = make_rows(12, 1, 2);
  made[7].negatives.clear();
  const FakeRows rows(made);
  Collator collator({.group = 2, .purpose = Purpose::evaluation}, plain);
  const auto refusal = [&](const RowNeeds& needs, int rank) -> std::string {
    try {
      const HeldOut held_out(rows, collator, {.global_batch = 4, .needs = needs}, rank, 2);
      return "none";
    } catch (const Error& error) {
      return cat(static_cast<int>(error.exit_code()), ' ', error.what(), "; ", error.where());
    }
  };
  for (int rank = 0; rank < 2; ++rank) {
    EXPECT_EQ(refusal({.candidates = {2}}, rank), "3 the row has no negative, but each query takes 1; row=7 source=s0");
    EXPECT_EQ(refusal({.candidates = {2}, .gold_reader = "CoSENT"}, rank),
              "3 the row has no gold score, which the loss reads (CoSENT); row=0 source=s0");
  }
}

TEST(HeldOut, TakesRowsOfTheSourcesAskedFor) {
  const FakeRows rows(two_sources());
  Collator collator({.purpose = Purpose::evaluation}, plain);
  const HeldOut second(rows, collator, {.only = {"*1"}, .global_batch = 8}, 0, 1);
  EXPECT_EQ(second.global_rows(), rows.sources()[1].rows);
  for (const Batch& batch : second.batches())
    for (const int64_t row : batch.rows) EXPECT_EQ(row % 3, 0);  // as two_sources has it
  EXPECT_THROW(HeldOut(rows, collator, {.only = {"s2"}, .global_batch = 8}, 0, 1), Error);
}

TEST(PlanPrint, WritesOneJsonLineAStepWithGlobalRowIds) {
  const FakeRows rows(two_sources());
  const Plan plan = make_plan(rows, {.global_batch = 2, .batches = 3, .seed = 1});
  std::ostringstream out;
  std::vector<PlannedTask> tasks;
  tasks.push_back({plan, rows, std::make_unique<Collator>(CollateConfig{}, plain)});
  print_plan(out, test::one_task(plan), tasks, 0, 100);
  std::string expected;
  for (int64_t step = 0; step < 3; ++step) {
    const Part part = batch_of(plan, step);
    expected += cat("{\"step\":", step, ",\"parts\":[{\"source\":\"s", part.source, "\",\"task\":\"retrieval\",\"epoch\":0,\"rows\":[",
                    rows.row_of(part.source, part.rows[0]), ",", rows.row_of(part.source, part.rows[1]), "]}]}\n");
  }
  EXPECT_EQ(out.str(), expected);
}

}  // namespace
}  // namespace lodestone
