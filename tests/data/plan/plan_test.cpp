// Does a plan draw sources and rows as documented, whatever the number of ranks?
#include "data/plan/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/error.h"
#include "tests/data/plan/plan_support.h"

namespace lodestone {
namespace {

const std::vector<PlanSource> gte_sources = {{"web", 147}, {"paper", 45}, {"link", 106}, {"social", 327}, {"kb", 38},
                                             {"cqa", 12},  {"news", 3},   {"code", 20},  {"other", 91}};

TEST(Plan, ProbabilitiesMatchThePublishedSourceSizes) {
  const Plan plan({.global_batch = 1, .alpha = 0.5}, gte_sources);
  const double golden[] = {0.16704, 0.09242, 0.14185, 0.24914, 0.08493, 0.04773, 0.02386, 0.06161, 0.13143};
  for (int32_t i = 0; i < 9; ++i) EXPECT_NEAR(plan.probability(i), golden[i], 5e-6) << i;
}

TEST(Plan, AlphaZeroIsUniformAndAlphaOneProportional) {
  const Plan uniform({.global_batch = 1, .alpha = 0}, gte_sources), proportional({.global_batch = 1, .alpha = 1}, gte_sources);
  for (int32_t i = 0; i < 9; ++i) {
    EXPECT_DOUBLE_EQ(uniform.probability(i), 1.0 / 9);
    EXPECT_NEAR(proportional.probability(i), static_cast<double>(gte_sources[static_cast<size_t>(i)].rows) / 789, 1e-15);
  }
}

TEST(Plan, SourcesAreDrawnWithTheirProbabilities) {
  const int64_t steps = 20000;
  const Plan plan({.global_batch = 2, .batches = steps, .seed = 5, .alpha = 0.5}, gte_sources);
  std::vector<double> drawn(9, 0);
  for (int64_t step = 0; step < steps; ++step) ++drawn[static_cast<size_t>(batch_of(plan, step).source)];
  for (int32_t i = 0; i < 9; ++i) {
    const double p = plan.probability(i), sigma = std::sqrt(p * (1 - p) * static_cast<double>(steps));
    EXPECT_NEAR(drawn[static_cast<size_t>(i)], p * static_cast<double>(steps), 3 * sigma) << gte_sources[static_cast<size_t>(i)].name;
  }
}

TEST(Plan, IsAFunctionOfSeedAndDrawAlone) {
  const PlanConfig config{.global_batch = 4, .batches = 100, .seed = 3};
  PlanConfig longer = config, other_seed = config;
  longer.batches = 1000;
  other_seed.seed = 4;
  const std::vector<PlanSource> sources = {{"a", 40}, {"b", 25}};
  const Plan plan(config, sources), same(longer, sources), other(other_seed, sources);
  int differ = 0;
  for (int64_t draw = 99; draw >= 0; --draw) {
    const Part x = batch_of(plan, draw), y = batch_of(same, draw), z = batch_of(other, draw);
    EXPECT_EQ(x.source, y.source);
    EXPECT_EQ(x.rows, y.rows);
    EXPECT_EQ(x.epoch, y.epoch);
    differ += x.rows != z.rows;
  }
  EXPECT_GT(differ, 90);
}

TEST(Plan, EveryRowOfASourceComesOnceAnEpochUpToTheDroppedRemainder) {
  const std::vector<PlanSource> sources = {{"a", 103}, {"b", 64}};
  const int64_t batches = 600, batch = 8;
  const Plan plan({.global_batch = batch, .batches = batches, .seed = 1}, sources);
  std::map<std::pair<int32_t, int64_t>, std::vector<int64_t>> seen;
  std::map<int32_t, int64_t> last_epoch;
  for (int64_t draw = 0; draw < batches; ++draw) {
    const Part part = batch_of(plan, draw);
    ASSERT_EQ(part.rows.size(), static_cast<size_t>(batch));
    EXPECT_GE(part.epoch, last_epoch[part.source]);
    last_epoch[part.source] = part.epoch;
    auto& rows = seen[{part.source, part.epoch}];
    rows.insert(rows.end(), part.rows.begin(), part.rows.end());
  }
  std::set<std::vector<int64_t>> orders;
  for (auto& [which, rows] : seen) {
    const auto [source, epoch] = which;
    const int64_t size = sources[static_cast<size_t>(source)].rows;
    if (epoch < last_epoch[source]) {
      EXPECT_EQ(static_cast<int64_t>(rows.size()), size / batch * batch);
    }
    orders.insert(rows);
    std::sort(rows.begin(), rows.end());
    EXPECT_EQ(std::adjacent_find(rows.begin(), rows.end()), rows.end()) << "a row twice in epoch " << epoch;
    EXPECT_GE(rows.front(), 0);
    EXPECT_LT(rows.back(), size);
  }
  EXPECT_GT(last_epoch[0], 3);
  EXPECT_EQ(orders.size(), seen.size()) << "epochs have orders of their own";
}

TEST(Plan, RankSlicesPartitionTheBatchAndDifferByAtMostOneRow) {
  for (int world = 1; world <= 5; ++world) {
    for (int64_t n = world; n <= 17; ++n) {
      int64_t next = 0;
      for (int rank = 0; rank < world; ++rank) {
        const RankRows mine = rank_rows(n, rank, world);
        EXPECT_EQ(mine.begin, next);
        EXPECT_GE(mine.end - mine.begin, n / world);
        EXPECT_LE(mine.end - mine.begin, n / world + 1);
        next = mine.end;
      }
      EXPECT_EQ(next, n);
    }
  }
}

TEST(Plan, RefusesSmallSourcesByName) {
  EXPECT_EQ(message_of({.global_batch = 32}, {{"large", 100}, {"tiny", 5}}),
            "source tiny (5 rows) is smaller than the global batch of 32 rows; do: set small_sources to merge, lower the "
            "global batch, or leave the source out");
}

TEST(Plan, MergesSmallSourcesIntoOther) {
  const Plan plan({.global_batch = 8, .batches = 300, .small_sources = SmallSources::merge},
                  {{"s0", 5}, {"large", 20}, {"empty", 0}, {"s1", 4}, {"s2", 1}});
  ASSERT_EQ(plan.sources().size(), 2u);
  EXPECT_EQ(plan.sources()[0].name, "large");
  EXPECT_EQ(plan.sources()[1].name, "other");
  EXPECT_EQ(plan.sources()[1].rows, 10);
  EXPECT_NEAR(plan.probability(1), 10.0 / 30, 1e-15);
  std::set<std::pair<int32_t, int64_t>> rows;
  for (int64_t k = 0; k < 10; ++k) {
    const SourceRow row = plan.locate(1, k);
    rows.insert({row.source, row.k});
  }
  const std::set<std::pair<int32_t, int64_t>> expected = {{0, 0}, {0, 1}, {0, 2}, {0, 3}, {0, 4}, {3, 0}, {3, 1}, {3, 2}, {3, 3}, {4, 0}};
  EXPECT_EQ(rows, expected);
  EXPECT_EQ(plan.locate(0, 17).source, 1);
  EXPECT_EQ(plan.locate(0, 17).k, 17);
  EXPECT_THROW(plan.locate(1, 10), Error);
}

TEST(Plan, MixedBatchesDrawFromTheRowsOfAllSourcesInOneShuffledOrder) {
  const Plan plan({.global_batch = 8, .batches = 5, .batching = Batching::mixed}, {{"a", 25}, {"b", 5}, {"c", 14}});
  ASSERT_EQ(plan.sources().size(), 1u);
  EXPECT_EQ(plan.sources()[0].name, "all");
  EXPECT_EQ(plan.sources()[0].rows, 44);
  std::set<std::pair<int32_t, int64_t>> rows;
  std::set<int32_t> sources_of_first_batch;
  for (int64_t step = 0; step < 5; ++step) {  // one epoch: 40 of the 44 rows
    for (const int64_t k : batch_of(plan, step).rows) {
      const SourceRow row = plan.locate(0, k);
      rows.insert({row.source, row.k});
      if (step == 0) sources_of_first_batch.insert(row.source);
    }
  }
  EXPECT_EQ(rows.size(), 40u);
  EXPECT_GT(sources_of_first_batch.size(), 1u);
  EXPECT_EQ(message_of({.global_batch = 64, .batching = Batching::mixed}, {{"a", 25}, {"b", 5}}),
            "the corpus has 30 rows, fewer than the global batch of 64; do: lower the global batch");
}

TEST(Plan, ALargeSourceCalledOtherJoinsTheMergedOne) {
  const std::vector<PlanSource> resolved =
      resolve_sources({.global_batch = 8, .small_sources = SmallSources::merge}, {{"other", 9}, {"a", 20}, {"b", 3}});
  ASSERT_EQ(resolved.size(), 2u);
  EXPECT_EQ(resolved[1].name, "other");
  EXPECT_EQ(resolved[1].rows, 12);
}

TEST(Plan, RefusesAMergedSourceThatIsStillTooSmall) {
  EXPECT_EQ(message_of({.global_batch = 32, .small_sources = SmallSources::merge}, {{"large", 100}, {"a", 5}, {"b", 7}}),
            "sources a (5 rows), b (7 rows) are smaller than the global batch of 32 rows; do: lower the global batch, or "
            "leave the source out");
}

TEST(Plan, RefusesImpossibleValues) {
  EXPECT_EQ(message_of({.global_batch = 0}, {{"a", 5}}), "the global batch is 0 rows; do: give a global batch of at least 1");
  EXPECT_NE(message_of({.batches = -1}, {{"a", 500}}), "no error");
  EXPECT_NE(message_of({.alpha = -0.5}, {{"a", 500}}), "no error");
  EXPECT_NE(message_of({.alpha = std::nan("")}, {{"a", 500}}), "no error");
  EXPECT_NE(message_of({}, {}), "no error");
  EXPECT_NE(message_of({}, {{"a", 500}, {"a", 600}}), "no error");
  EXPECT_THROW(batch_of(Plan({.global_batch = 1, .batches = 2}, {{"a", 5}}), 2), Error);
}

TEST(Plan, BatchesForEpochsCountsWholeBatches) {
  const std::vector<PlanSource> sources = {{"a", 100}, {"b", 37}};  // 6 + 2 batches of 16
  EXPECT_EQ(batches_for_epochs({.global_batch = 16}, sources, 1), 8);
  EXPECT_EQ(batches_for_epochs({.global_batch = 16}, sources, 0.5), 4);
  EXPECT_THROW(batches_for_epochs({.global_batch = 16}, sources, std::nan("")), Error);
}

}  // namespace
}  // namespace lodestone
