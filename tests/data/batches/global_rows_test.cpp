// Do the shares of a global batch hold equal numbers of tokens, whatever the number of ranks?
#include "data/batches/global_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "core/rng.h"
#include "data/batches/loader.h"
#include "tests/data/batches/fake_rows.h"
#include "tests/data/batches/one_task.h"

namespace lodestone {
namespace {

using test::FakeRows;
using test::make_rows;

const Framing plain{101, 102, {}, {}, {}};

/// Largest share of tokens over the mean, less 1, when ranks cut the rows.
double imbalance(const std::vector<int64_t>& rows, const std::vector<int64_t>& tokens_of_row, int world) {
  int64_t largest = 0, all = 0;
  for (int rank = 0; rank < world; ++rank) {
    const RankRows mine = rank_rows(static_cast<int64_t>(rows.size()), rank, world);
    int64_t sum = 0;
    for (int64_t i = mine.begin; i < mine.end; ++i) sum += tokens_of_row[static_cast<size_t>(rows[static_cast<size_t>(i)])];
    largest = std::max(largest, sum);
    all += sum;
  }
  return static_cast<double>(largest) * world / static_cast<double>(all) - 1;
}

TEST(BalanceTokens, PairsShortWithLongAndSpreadsThePairs) {
  std::vector<int64_t> rows = {10, 11, 12, 13, 14, 15}, scratch;
  balance_tokens(rows, std::vector<int64_t>{5, 3, 9, 3, 1, 7}, scratch);  // sorted: 14, 11, 13, 10, 15, 12
  EXPECT_EQ(rows, (std::vector<int64_t>{14, 12, 13, 10, 11, 15}));        // pairs 0, 2, 1
  std::vector<int64_t> one = {7}, none;
  balance_tokens(one, std::vector<int64_t>{3}, scratch);
  EXPECT_EQ(one, std::vector<int64_t>{7});
  std::vector<int64_t> three = {7, 8, 9};
  balance_tokens(three, std::vector<int64_t>{2, 1, 3}, scratch);
  EXPECT_EQ(three, (std::vector<int64_t>{8, 9, 7}));
  balance_tokens(none, {}, scratch);
}

TEST(BalanceTokens, CutsTheImbalanceOfAnyNumberOfRanksToHalfOrLess) {
  for (const int world : {2, 3, 4, 5, 8}) {
    double before = 0, after = 0;
    for (uint64_t trial = 0; trial < 50; ++trial) {
      const Key key = Key(trial);
      std::vector<int64_t> rows(128), tokens(128), scratch;
      std::iota(rows.begin(), rows.end(), 0);
      for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = 16 + static_cast<int64_t>(113 * key.uniform(i));
      before += imbalance(rows, tokens, world);
      balance_tokens(rows, tokens, scratch);
      after += imbalance(rows, tokens, world);
    }
    EXPECT_LT(after, before / 2) << world << " ranks: " << after / 50 << ", was " << before / 50;
  }
}

TEST(GlobalRows, BalancedBatchesHaveThePlansRowsAndTheLengthsThatCollatingGives) {
  const FakeRows rows = FakeRows(make_rows(60, 2, 3));
  const CollateConfig config{.group = 3, .query_max_len = 8, .passage_max_len = 7, .seed = 5};
  const PlanConfig shuffled{.global_batch = 12, .batches = 8, .seed = 5};
  PlanConfig balanced = shuffled;
  balanced.order = RowOrder::balanced;
  const Plan plan(shuffled, plan_sources(rows.sources())), same(balanced, plan_sources(rows.sources()));
  Collator collator(config, plain);
  GlobalRows as_drawn(plan, rows, collator), in_order(same, rows, collator);
  for (int64_t step = 0; step < 4; ++step) {
    const auto a = as_drawn.read(2 * step + 1, step), b = in_order.read(2 * step + 1, step);
    EXPECT_FALSE(std::equal(a.begin(), a.end(), b.begin())) << "the order is another";
    EXPECT_EQ(std::multiset<int64_t>(a.begin(), a.end()), std::multiset<int64_t>(b.begin(), b.end()));
    for (const int64_t row : b) {
      Batch batch;
      collator.collate(rows, {.step = step, .rows = std::span(&row, 1)}, batch);
      EXPECT_EQ(collator.tokens(rows, row, step), static_cast<int64_t>(batch.ids.size()));
    }
  }
}

TEST(GlobalRows, RanksOfALoaderShareTheBalancedOrder) {
  const FakeRows rows = FakeRows(make_rows(60, 1, 0));
  const Plan plan({.global_batch = 10, .batches = 5, .order = RowOrder::balanced}, plan_sources(rows.sources()));
  Collator collator({}, plain);
  GlobalRows whole(plan, rows, collator);
  for (const int world : {1, 2, 3}) {
    for (int64_t step = 0; step < 5; ++step) {
      const auto expected = whole.read(step, step);
      std::vector<int64_t> together;
      for (int rank = 0; rank < world; ++rank) {
        test::OneTaskLoader loader(plan, rows, Collator({}, plain), rank, world, step);
        const Batch& batch = loader.take(step);
        together.insert(together.end(), batch.rows.begin(), batch.rows.end());
      }
      EXPECT_TRUE(std::equal(together.begin(), together.end(), expected.begin(), expected.end())) << world << " ranks, step " << step;
    }
  }
}

}  // namespace
}  // namespace lodestone
