// Do the batching modes, repetition, shares and special sources draw what they promise?
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/error.h"
#include "data/batches/collate.h"
#include "data/batches/global_rows.h"
#include "data/plan/plan.h"
#include "tests/data/batches/fake_rows.h"
#include "tests/data/plan/plan_support.h"

namespace lodestone {
namespace {

std::vector<double> draws_by_source(const Plan& plan) {
  std::vector<double> drawn(plan.sources().size(), 0);
  for (int64_t draw = 0; draw < plan.config().batches; ++draw) ++drawn[static_cast<size_t>(batch_of(plan, draw).source)];
  return drawn;
}

/// Every source within 3 sigma of its probability.
void expect_frequencies(const Plan& plan) {
  const std::vector<double> drawn = draws_by_source(plan);
  const auto n = static_cast<double>(plan.config().batches);
  for (size_t i = 0; i < drawn.size(); ++i) {
    const double p = plan.probability(static_cast<int32_t>(i));
    EXPECT_NEAR(drawn[i], p * n, 3 * std::sqrt(p * (1 - p) * n)) << plan.sources()[i].name;
  }
}

constexpr Batching all_modes[] = {Batching::multinomial,  Batching::random,       Batching::epoch,
                                  Batching::epoch_static, Batching::epoch_random, Batching::mixed};
const std::vector<PlanSource> three = {{"a", 43}, {"b", 80}, {"c", 16}};  // 5, 10 and 2 batches of 8

TEST(Batching, NoBatchHasARowTwiceAndPositionsAreInRangeInAnyMode) {
  for (const Batching mode : all_modes) {
    const Plan plan({.global_batch = 8,
                     .batches = 400,
                     .seed = 3,
                     .batching = mode,
                     .rules = {{.match = "a", .repeat = 3}, {.match = "c", .repeat = 2}}},
                    three);
    for (int64_t draw = 0; draw < 400; ++draw) {
      const Part part = batch_of(plan, draw);
      const std::set<int64_t> rows(part.rows.begin(), part.rows.end());
      ASSERT_EQ(rows.size(), 8u) << static_cast<int>(mode) << " batch " << draw;
      EXPECT_GE(*rows.begin(), 0);
      EXPECT_LT(*rows.rbegin(), plan.sources()[static_cast<size_t>(part.source)].rows);
    }
  }
}

TEST(Batching, IsAFunctionOfSeedTaskAndDrawInAnyMode) {
  for (const Batching mode : all_modes) {
    const PlanConfig config{.global_batch = 8, .batches = 60, .seed = 3, .batching = mode, .rules = {{.match = "b", .share = 0.25}}};
    PlanConfig longer = config, other_seed = config, other_task = config;
    longer.batches = 600;
    other_seed.seed = 4;
    other_task.task = "sts";
    const Plan plan(config, three), same(longer, three), seed(other_seed, three), task(other_task, three);
    int seeds_differ = 0, tasks_differ = 0;
    for (int64_t draw = 59; draw >= 0; --draw) {
      const Part x = batch_of(plan, draw), y = batch_of(same, draw);
      EXPECT_EQ(x.source, y.source);
      EXPECT_EQ(x.rows, y.rows);
      EXPECT_EQ(x.epoch, y.epoch);
      seeds_differ += x.rows != batch_of(seed, draw).rows;
      tasks_differ += x.rows != batch_of(task, draw).rows;
    }
    EXPECT_GT(seeds_differ, 55) << static_cast<int>(mode);
    EXPECT_GT(tasks_differ, 55) << static_cast<int>(mode);
  }
}

TEST(Batching, EpochModesHaveEveryWholeBatchOfEverySourceOnceAnEpoch) {
  for (const Batching mode : {Batching::epoch, Batching::epoch_static, Batching::epoch_random}) {
    const Plan plan({.global_batch = 8, .batches = 5 * 17, .seed = 1, .batching = mode}, three);
    std::set<std::vector<int32_t>> orders;
    for (int64_t epoch = 0; epoch < 5; ++epoch) {
      std::vector<int32_t> order;
      std::map<int32_t, std::set<int64_t>> rows;
      for (int64_t draw = 17 * epoch; draw < 17 * (epoch + 1); ++draw) {
        const Part part = batch_of(plan, draw);
        EXPECT_EQ(part.epoch, epoch) << "all sources begin their epochs together";
        order.push_back(part.source);
        rows[part.source].insert(part.rows.begin(), part.rows.end());
      }
      EXPECT_EQ(rows[0].size(), 40u);
      EXPECT_EQ(rows[1].size(), 80u);
      EXPECT_EQ(rows[2].size(), 16u);
      orders.insert(order);
    }
    EXPECT_EQ(orders.size(), 5u) << "sources come in another order each epoch";
  }
}

TEST(Batching, EpochMakesItsBatchesAnewAndEpochStaticKeepsThemTogether) {
  const auto batches_of_epoch = [](const Plan& plan, int64_t epoch) {
    std::vector<std::pair<int32_t, std::vector<int64_t>>> batches;
    for (int64_t draw = 17 * epoch; draw < 17 * (epoch + 1); ++draw) {
      const Part part = batch_of(plan, draw);
      batches.emplace_back(part.source, part.rows);
    }
    return batches;
  };
  for (const Batching mode : {Batching::epoch, Batching::epoch_random, Batching::epoch_static}) {
    const Plan plan({.global_batch = 8, .batches = 3 * 17, .seed = 1, .batching = mode}, three);
    auto first = batches_of_epoch(plan, 0), third = batches_of_epoch(plan, 2);
    EXPECT_NE(first, third) << "the order is another";
    std::sort(first.begin(), first.end());
    std::sort(third.begin(), third.end());
    if (mode == Batching::epoch_static) {
      EXPECT_EQ(first, third);
    } else {
      for (size_t i = 0; i < first.size(); ++i) EXPECT_NE(first[i], third[i]);
    }
  }
}

TEST(Batching, EpochStaticMakesBatchesOfItsOwnForEachDataSetThatASourceCountsAs) {
  const Plan plan({.global_batch = 8, .batches = 4 * 10, .batching = Batching::epoch_static, .rules = {{.match = "b", .repeat = 2}}},
                  {{"b", 80}});
  std::set<std::vector<int64_t>> batches;
  for (int64_t draw = 0; draw < 40; ++draw) batches.insert(batch_of(plan, draw).rows);
  EXPECT_EQ(batches.size(), 20u);
}

TEST(Batching, RandomDrawsProportionallyToSizeWhateverAlphaIs) {
  const Plan plan({.global_batch = 8, .batches = 20000, .seed = 5, .batching = Batching::random, .alpha = 0}, three);
  EXPECT_NEAR(plan.probability(0), 43.0 / 139, 1e-12);
  EXPECT_NEAR(plan.probability(2), 16.0 / 139, 1e-12);
  expect_frequencies(plan);
}

TEST(Batching, EpochRandomDrawsByWhatIsLeft) {
  // The first of 17 batches is of a source with probability 5/17, 10/17, 2/17; so is the last: over 4,000 epochs, within 3 sigma.
  const int64_t epochs = 4000;
  const Plan plan({.global_batch = 8, .batches = 17 * epochs, .seed = 2, .batching = Batching::epoch_random}, three);
  const double batches[] = {5, 10, 2};
  for (const int64_t place : {int64_t{0}, int64_t{16}}) {
    double drawn[3] = {};
    for (int64_t epoch = 0; epoch < epochs; ++epoch) ++drawn[batch_of(plan, 17 * epoch + place).source];
    for (size_t i = 0; i < 3; ++i) {
      const double p = batches[i] / 17;
      EXPECT_NEAR(drawn[i], p * static_cast<double>(epochs), 3 * std::sqrt(p * (1 - p) * static_cast<double>(epochs))) << place << ' ' << i;
    }
  }
}

TEST(Repetition, OfASourceDoublesItsShareInAnyMode) {
  const std::vector<PlanSource> sources = {{"a", 80}, {"b", 80}, {"c", 80}};
  for (const Batching mode : {Batching::multinomial, Batching::random, Batching::epoch, Batching::epoch_static, Batching::epoch_random}) {
    const Plan plan({.global_batch = 8, .batches = 20000, .batching = mode, .alpha = 0.5, .rules = {{.match = "b", .repeat = 2}}}, sources);
    EXPECT_NEAR(plan.probability(0), 0.25, 1e-12);
    EXPECT_NEAR(plan.probability(1), 0.5, 1e-12);
    expect_frequencies(plan);
  }
}

TEST(Repetition, InMixedBatchesDoublesHowOftenEachRowComesInAnEpoch) {
  const std::vector<PlanSource> sources = {{"once", 41}, {"twice", 30}, {"thrice", 20}};
  const Plan plan({.global_batch = 7,
                   .batches = 200,
                   .batching = Batching::mixed,
                   .rules = {{.match = "twice", .repeat = 2}, {.match = "thrice", .repeat = 3}}},
                  sources);
  std::map<int64_t, std::map<int64_t, int>> seen;  // by epoch, of each row
  for (int64_t draw = 0; draw < 200; ++draw) {
    const Part part = batch_of(plan, draw);
    for (const int64_t k : part.rows) ++seen[part.epoch][k];
  }
  ASSERT_GT(seen.size(), 5u);
  for (int64_t epoch = 0; epoch < 5; ++epoch) {
    int counts[3] = {}, dropped = 0;
    for (int64_t k = 0; k < 91; ++k) {
      const SourceRow row = plan.locate(0, k);
      EXPECT_LE(seen[epoch][k], row.source + 1);
      counts[row.source] += seen[epoch][k];
      dropped += row.source + 1 - seen[epoch][k];
    }
    EXPECT_EQ(counts[0] + counts[1] + counts[2] + dropped, 41 + 2 * 30 + 3 * 20);
    EXPECT_LT(dropped, 3 * 7) << "less than a batch a round";
  }
}

TEST(Repetition, OfAllMergedSourcesRepeatsTheMergedOne) {
  const Plan plan(
      {.global_batch = 8, .batching = Batching::epoch, .small_sources = SmallSources::merge, .rules = {{.match = "s*", .repeat = 2}}},
      {{"large", 40}, {"s0", 5}, {"s1", 4}});
  EXPECT_EQ(plan.sources()[1].repeat, 2);
  EXPECT_NEAR(plan.probability(1), 2.0 / 7, 1e-12);
}

TEST(Share, OfReplayedSourcesIsKeptAtEveryMomentInAnyMode) {
  const std::vector<PlanSource> sources = {{"tuning-a", 40}, {"tuning-b", 80}, {"pretrain-x", 800}, {"pretrain-y", 160}};
  for (const Batching mode : all_modes) {
    const Plan plan({.global_batch = 8, .batches = 1000, .batching = mode, .rules = {{.match = "pretrain-*", .share = 0.2}}}, sources);
    double replayed = 0;
    for (int64_t draw = 0; draw < 1000; ++draw) {
      const PlanSource& source = plan.sources()[static_cast<size_t>(batch_of(plan, draw).source)];
      replayed += source.name.find("pretrain-") != std::string::npos;
      EXPECT_NEAR(replayed, 0.2 * static_cast<double>(draw + 1), 1) << static_cast<int>(mode);
    }
    double of_replayed = 0;
    for (size_t i = 0; i < plan.sources().size(); ++i) {
      if (plan.sources()[i].name.find("pretrain-") != std::string::npos) of_replayed += plan.probability(static_cast<int32_t>(i));
    }
    EXPECT_NEAR(of_replayed, 0.2, 1e-12);
  }
}

TEST(Share, LeavesTheEpochsOfTheOtherSourcesWhole) {
  const std::vector<PlanSource> sources = {{"tuning", 80}, {"pretrain", 800}};
  const PlanConfig config{.global_batch = 8, .batches = 50, .batching = Batching::epoch, .rules = {{.match = "pretrain", .share = 0.2}}};
  EXPECT_EQ(batches_for_epochs(config, sources, 2), 25) << "20 batches and the fifth of 25";
  const Plan plan(config, sources);
  std::map<int64_t, std::set<int64_t>> tuning;
  for (int64_t draw = 0; draw < 50; ++draw) {
    const Part part = batch_of(plan, draw);
    if (part.source == 0) tuning[part.epoch].insert(part.rows.begin(), part.rows.end());
  }
  ASSERT_EQ(tuning.size(), 4u);
  for (const auto& [epoch, rows] : tuning) EXPECT_EQ(rows.size(), 80u);
}

TEST(Share, OfThreeGroupsIsKeptWithinTwoBatches) {
  const Plan plan({.global_batch = 8, .batches = 2000, .rules = {{.match = "a", .share = 0.37}, {.match = "b", .share = 0.11}}}, three);
  double drawn[3] = {};
  for (int64_t draw = 0; draw < 2000; ++draw) {
    ++drawn[batch_of(plan, draw).source];
    const auto n = static_cast<double>(draw + 1);
    EXPECT_NEAR(drawn[0], 0.37 * n, 2);
    EXPECT_NEAR(drawn[1], 0.11 * n, 2);
    EXPECT_NEAR(drawn[2], 0.52 * n, 2);
  }
}

TEST(SourceTraits, FollowTheNamesInUse) {
  EXPECT_TRUE(traits_of("msmarco", {}).in_batch_negatives);
  EXPECT_FALSE(traits_of("classification-no_in_batch_neg/class", {}).in_batch_negatives);
  EXPECT_FALSE(traits_of("iflytek/cls_contrast", {}).in_batch_negatives);
  EXPECT_TRUE(traits_of("sts/symmetric_sts", {}).half_batch);
  EXPECT_TRUE(traits_of("sts/symmetric_sts", {}).prompt_on_passages);
  EXPECT_TRUE(traits_of("x/symmetric_class", {}).half_batch);
  EXPECT_FALSE(traits_of("x/symmetric_class", {}).prompt_on_passages);
  EXPECT_FALSE(traits_of("symmetric_sts", {}).half_batch) << "a file's name is no type";
  EXPECT_EQ(traits_of("code/only_1neg", {}).group, 2);
  EXPECT_EQ(traits_of("code/normal", {}).group, 0);
}

TEST(SourceTraits, LaterRulesWinAndStarsStandForAnyText) {
  const std::vector<SourceRule> rules = {{.match = "*", .repeat = 2, .in_batch_negatives = false},
                                         {.match = "a*c/*", .repeat = 3, .prompt_on_passages = true}};
  EXPECT_EQ(traits_of("b", rules).repeat, 2);
  EXPECT_EQ(traits_of("abc/x", rules).repeat, 3);
  EXPECT_FALSE(traits_of("abc/x", rules).in_batch_negatives);
  EXPECT_TRUE(traits_of("ac/", rules).prompt_on_passages);
  EXPECT_EQ(source_groups(std::vector<std::string_view>{"a", "b/only_1neg", "c"}, std::vector<SourceRule>{{.match = "c", .group = 9}}, 4),
            (std::vector<int64_t>{4, 2, 4}));
  EXPECT_EQ(
      source_groups(std::vector<std::string_view>{"a", "pretrain/b"}, std::vector<SourceRule>{{.match = "pretrain/*", .group = 1}}, 16),
      (std::vector<int64_t>{16, 1}));
  EXPECT_TRUE(source_groups(std::vector<std::string_view>{"a", "b"}, {}, 4).empty());
  EXPECT_FALSE(matches("a*c", "abd"));
  EXPECT_FALSE(matches("a", "ab"));
  EXPECT_TRUE(matches("**", ""));
  EXPECT_EQ(prompted_sources(std::vector<std::string_view>{"b", "abc/x", "sts/symmetric_sts"}, rules), (std::vector<uint8_t>{0, 1, 1}));
}

TEST(SourceTraits, SymmetricSourcesHaveHalfTheBatchAndOthersTheirWord) {
  const Plan plan({.global_batch = 16, .batches = 100, .batching = Batching::epoch},
                  {{"sts/symmetric_sts", 100}, {"topics-no_in_batch_neg", 64}, {"nq", 160}});
  EXPECT_EQ(plan.smallest_batch(), 8);
  std::map<std::string, size_t> size;
  for (int64_t draw = 0; draw < 100; ++draw) {
    const Part part = batch_of(plan, draw);
    size[plan.sources()[static_cast<size_t>(part.source)].name] = part.rows.size();
  }
  EXPECT_EQ(size, (std::map<std::string, size_t>{{"sts/symmetric_sts", 8}, {"topics-no_in_batch_neg", 16}, {"nq", 16}}));
  EXPECT_TRUE(plan.sources()[0].in_batch_negatives);
  EXPECT_FALSE(plan.sources()[1].in_batch_negatives);
  EXPECT_EQ(batches_for_epochs({.global_batch = 16}, {{"sts/symmetric_sts", 100}, {"nq", 160}}, 1), 12 + 10);
}

TEST(SourceTraits, SourcesThatMayNotShareABatchAreMergedApart) {
  const Plan plan({.global_batch = 8, .small_sources = SmallSources::merge, .rules = {{.match = "z*", .share = 0.5}}},
                  {{"a", 5},
                   {"x-no_in_batch_neg", 4},
                   {"b", 4},
                   {"y-no_in_batch_neg", 6},
                   {"s/symmetric_sts", 2},
                   {"t/symmetric_sts", 3},
                   {"z0", 7},
                   {"z1", 1},
                   {"o/only_1neg", 6},
                   {"p/only_1neg", 5}});
  std::map<std::string, int64_t> rows;
  for (const PlanSource& source : plan.sources()) rows[source.name] = source.rows;
  EXPECT_EQ(
      rows,
      (std::map<std::string, int64_t>{
          {"other", 9}, {"other, no_in_batch_neg", 10}, {"other, half batch", 5}, {"other, share of z*", 8}, {"other, groups of 2", 11}}));
}

TEST(Plan, DrawsFromTheSourcesOfItsTaskOnly) {
  const std::vector<PlanSource> sources = {{"qa", 40}, {"chat", 80}, {"qa-nq", 16}};
  const Plan plan({.global_batch = 8, .batches = 60, .only = {"qa*"}}, sources);
  ASSERT_EQ(plan.sources().size(), 2u);
  EXPECT_EQ(plan.locate(1, 3).source, 2) << "numbered as the corpus numbers them";
  EXPECT_EQ(message_of({.global_batch = 8, .task = "icl", .only = {"qa", "icl"}}, sources),
            "task icl has no source \"icl\"; do: the corpus has qa, chat, qa-nq");
}

TEST(SourceTraits, MaxRowsKeepsAFixedDrawOfASource) {
  const PlanConfig config{.global_batch = 8, .batches = 100, .rules = {{.match = "a", .max_rows = 40}}};
  const Plan plan(config, {{"a", 1000}});
  EXPECT_EQ(plan.sources()[0].rows, 40);
  std::set<int64_t> used;
  for (int64_t draw = 0; draw < 100; ++draw) {
    const Part part = batch_of(plan, draw);
    for (const int64_t k : part.rows) used.insert(plan.locate(0, k).k);
  }
  EXPECT_EQ(used.size(), 40u);
  EXPECT_GT(*used.rbegin(), 500) << "not the first 40";
  EXPECT_LT(*used.rbegin(), 1000);
}

TEST(SourceTraits, TravelWithTheRows) {
  std::vector<test::FakeRow> made = test::make_rows(40, 1, 0);
  for (size_t r = 0; r < 40; ++r) made[r].source = r < 20 ? 0 : 1;
  const test::FakeRows rows(made);
  const Plan plan({.global_batch = 8,
                   .batches = 40,
                   .order = RowOrder::balanced,
                   .rules = {{.match = "s1", .half_batch = true, .in_batch_negatives = false}}},
                  plan_sources(rows.sources()));
  Collator collator({}, {101, 102, {}, {}, {}});
  GlobalRows global_rows(plan, rows, collator);
  for (int64_t draw = 0; draw < 40; ++draw) {
    const auto ids = global_rows.read(draw, draw);
    const bool second = global_rows.part().source == 1;
    EXPECT_EQ(ids.size(), second ? 4u : 8u);
    EXPECT_EQ(global_rows.in_batch_negatives(), !second);
    for (const int64_t row : ids) EXPECT_EQ(row >= 20, second);
    Batch batch;
    collator.collate(rows, {.rows = ids, .in_batch_negatives = global_rows.in_batch_negatives()}, batch);
    EXPECT_EQ(batch.pairs().in_batch_negatives, !second);
  }
}

TEST(SourceRules, AreRefusedWhereTheyCannotBeMeant) {
  const auto with = [](SourceRule rule) { return PlanConfig{.global_batch = 8, .rules = {std::move(rule)}}; };
  EXPECT_EQ(message_of(with({.match = "d", .repeat = 2}), three), "the rule for sources \"d\" matches none; do: the corpus has a, b, c");
  EXPECT_EQ(message_of(with({.match = "a", .repeat = 0}), three),
            "the rule for sources \"a\" repeats them 0 times; do: give repeat at least 1");
  EXPECT_NE(message_of(with({.match = "a", .share = 0.0}), three), "no error");
  EXPECT_NE(message_of(with({.match = "a", .share = std::nan("")}), three), "no error");
  EXPECT_NE(message_of(with({.match = "a", .max_rows = 0}), three), "no error");
  EXPECT_NE(message_of(with({.match = ""}), three), "no error");
  EXPECT_EQ(message_of(with({.match = "a", .share = 1.0}), three),
            "the shares of sources add up to 1; do: leave something for the sources without a share: less than 1");
  EXPECT_EQ(message_of(with({.match = "*", .share = 0.5}), three),
            "the shares of sources add up to 0.5; do: every source has a share: let them add up to 1");
  EXPECT_EQ(message_of({.global_batch = 8, .rules = {{.match = "a", .share = 0.5}, {.match = "*", .share = 1.0}}}, three),
            "the rule for sources \"a\" gives a share, but later rules give all of them another; do: leave one out");
  EXPECT_EQ(message_of({.global_batch = 8, .batching = Batching::mixed, .rules = {{.match = "b", .in_batch_negatives = false}}}, three),
            "mixed batches cannot leave out the in-batch negatives of b alone; do: choose another batching, or give all sources the same "
            "use_inbatch_neg (data.rules)");
  EXPECT_EQ(message_of({.global_batch = 8, .batching = Batching::mixed, .rules = {{.match = "b", .group = 2}}}, three),
            "mixed batches cannot have groups of one size for a and of another for b; do: choose another batching, or give all sources the "
            "same group_size");
  EXPECT_NE(message_of(with({.match = "a", .group = 0}), three), "no error");
}

}  // namespace
}  // namespace lodestone
