// Mining over ranks: every rank sees the windows of a run on one rank, before and after a restart with other ranks.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "core/rng.h"
#include "data/files/durable.h"
#include "launch/mining/mining.h"
#include "tests/support/mpi_world.h"
#include "tests/support/temp_dir.h"

namespace lodestone {
namespace {

using test::world_comm;

constexpr int64_t rows = 60, batch = 14, steps = 50;

int32_t available(int64_t row) { return static_cast<int32_t>(3 + row); }

/// Ranks a row's list by a number that stands for the weights.
class FakeRanker final : public NegativeRanker {
 public:
  std::vector<std::vector<int32_t>> rank(std::span<const int64_t> asked) override {
    std::vector<std::vector<int32_t>> rankings;
    for (const int64_t row : asked) {
      std::vector<int32_t> places(static_cast<size_t>(available(row)));
      std::iota(places.begin(), places.end(), 0);
      const Key key = Key(9).with(static_cast<uint64_t>(row)).with(static_cast<uint64_t>(step));
      std::sort(places.begin(), places.end(),
                [&](int32_t a, int32_t b) { return key.uniform(static_cast<uint64_t>(a)) > key.uniform(static_cast<uint64_t>(b)); });
      rankings.push_back(places);
      ++ranked;
    }
    return rankings;
  }
  int64_t step = 0, ranked = 0;
};

double score_of(int64_t step, int64_t row, uint64_t place) {
  return 0.95 - 0.2 * Key(1).with(static_cast<uint64_t>(row)).uniform(place) - 0.02 * static_cast<double>((step + row) % 12);
}

/// Probes rows 0 .. 2 rows - 1, of which the simulation trains the first half only.
class FakeProbe final : public NegativeProbe {
 public:
  std::vector<int64_t> rows(int64_t first, int64_t count) override {
    std::vector<int64_t> ids;
    for (int64_t place = first; place < first + count; ++place) ids.push_back(place * 11 % (2 * lodestone::rows));
    return ids;
  }
  ProbedScores score(int64_t step, std::span<const int64_t> asked, int64_t negatives, const NegativeWindows& windows) override {
    ProbedScores probed;
    for (const int64_t row : asked) {
      probed.available.push_back(available(row));
      for (int64_t k = 0; k < negatives; ++k)
        probed.scores.push_back(score_of(step, row, static_cast<uint64_t>(negative_place(windows, row, k, negatives, available(row)))));
      ++scored;
    }
    return probed;
  }
  int64_t scored = 0;
};

struct Simulation {
  Simulation(Communicator& c, const HardNegativesConfig& config) : comm(c), mining(comm, config, &ranker, &probe) {}

  void run(int64_t begin, int64_t end) {
    const auto n = static_cast<int32_t>(mining.config().negatives);
    for (int64_t step = begin; step < end; ++step) {
      ranker.step = step;
      std::vector<int64_t> ids;
      std::vector<int32_t> lists;
      std::vector<double> scores;
      const int64_t first = batch * comm.rank() / comm.size(), last = batch * (comm.rank() + 1) / comm.size();
      for (int64_t b = first; b < last; ++b) {
        const int64_t row = (step * batch + b) * 7 % rows;
        ids.push_back(row);
        lists.push_back(available(row));
        for (int32_t k = 0; k < n; ++k) {
          const auto place = static_cast<uint64_t>(negative_place(mining.negatives(), row, k, n, available(row)));
          scores.push_back(score_of(step, row, place));
        }
      }
      mining.observe(step, 0, ids, lists, scores);
      const auto report = mining.end_of_step(step + 1);
      EXPECT_EQ(report.has_value(), (step + 1) % mining.config().every == 0);
      if (report) reports.push_back(*report);
    }
  }

  Communicator& comm;
  FakeRanker ranker;
  FakeProbe probe;
  Mining mining;
  std::vector<MiningReport> reports;
};

const std::vector<HardNegativesConfig> configs{{.negatives = 4, .every = 5},
                                               {.negatives = 4, .every = 5, .refill = MiningRefill::remine},
                                               {.negatives = 3, .every = 1, .rule = MiningRule::each},
                                               {.negatives = 4, .every = 5, .probe = 17},
                                               {.negatives = 3, .every = 5, .probe = 30, .rule = MiningRule::each}};

TEST(Mining, EveryRankHasTheWindowsAndCountsOfARunOnOneRank) {
  const auto self = make_self_comm();
  for (const HardNegativesConfig& config : configs) {
    Simulation alone(*self, config), together(world_comm(), config);
    alone.run(0, steps);
    together.run(0, steps);
    EXPECT_EQ(together.mining.state(), alone.mining.state());
    ASSERT_EQ(together.reports.size(), alone.reports.size());
    int64_t replaced = 0;
    for (size_t i = 0; i < alone.reports.size(); ++i) {
      const MiningReport &a = alone.reports[i], &b = together.reports[i];
      EXPECT_EQ(b.checked, a.checked);
      EXPECT_EQ(b.replaced, a.replaced);
      EXPECT_EQ(b.exhausted, a.exhausted);
      EXPECT_EQ(b.old_score_sum, a.old_score_sum);
      EXPECT_EQ(b.new_score_sum, a.new_score_sum);
      replaced += a.replaced;
    }
    EXPECT_GT(replaced, 20) << "the run shows nothing";
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t k = 0; k < config.negatives; ++k)
        EXPECT_EQ(negative_place(together.mining.negatives(), row, k, config.negatives, available(row)),
                  negative_place(alone.mining.negatives(), row, k, config.negatives, available(row)));
    if (config.refill == MiningRefill::remine) {
      int64_t ranked = together.ranker.ranked;
      all_reduce(world_comm(), std::span(&ranked, 1), Reduce::sum);
      EXPECT_EQ(ranked, alone.ranker.ranked) << "a row is encoded by one rank only";
    }
  }
}

TEST(Mining, ARunSavedBetweenChecksGoesOnTheSameWithAnotherNumberOfRanks) {
  const auto self = make_self_comm();
  for (const HardNegativesConfig& config : configs)
    for (const int64_t cut : {17, 30}) {
      Simulation straight(*self, config), before(world_comm(), config);
      straight.run(0, steps);
      before.run(0, cut);
      const test::TempDir dir;  // of this rank
      write_new_file(dir / mining_state_file, mining_state_document(before.mining.state()));
      const MiningState saved = read_mining_state(dir / mining_state_file);
      Simulation alone(*self, config), together(world_comm(), config);
      alone.mining.restore(saved);
      together.mining.restore(saved);
      before.run(cut, steps);  // saving does not disturb the run itself
      alone.run(cut, steps);
      together.run(cut, steps);
      const MiningState expected = straight.mining.state();
      EXPECT_EQ(alone.mining.state(), expected);
      EXPECT_EQ(together.mining.state(), expected);
      EXPECT_EQ(before.mining.state(), expected);
    }
}

TEST(Mining, ProbedRowsAreJudgedThoughTheyAreNotTrained) {
  for (const int64_t probe : {0, 40}) {
    Simulation s(world_comm(), {.negatives = 4, .every = 5, .probe = probe});
    s.run(0, steps);
    int64_t replaced = 0, scored = s.probe.scored, checked = 0;
    for (int64_t row = rows; row < 2 * rows; ++row) replaced += s.mining.negatives().replacements(row);
    for (const MiningReport& r : s.reports) checked += r.checked;
    all_reduce(world_comm(), std::span(&scored, 1), Reduce::sum);
    EXPECT_EQ(scored, probe * steps / 5) << "a row is scored by one rank only";
    EXPECT_EQ(replaced > 0, probe > 0);
    EXPECT_GT(checked, scored / 2);
  }
  EXPECT_THROW(Mining(world_comm(), {.probe = 1}, nullptr), Error);
}

TEST(Mining, ACheckWithoutScoresChangesNothing) {
  Simulation s(world_comm(), {.negatives = 4, .every = 1});
  const std::vector<int64_t> none;
  s.mining.observe(0, 0, none, {}, {});
  const auto report = s.mining.end_of_step(1);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->replaced + report->checked, 0);
}

TEST(Mining, TakesAllScoresOfARowOrTheirMean) {
  const auto self = make_self_comm();
  Mining all(*self, {.negatives = 4}, nullptr), mean(*self, {.negatives = 4}, nullptr),
      each(*self, {.negatives = 4, .rule = MiningRule::each}, nullptr);
  const std::vector<int64_t> ids{3, 8};
  const std::vector<int32_t> lists{20, 20};
  const std::vector<double> scores{0.5, 0.25, 0.75, 0.5, 1, 0, 0, 0}, means{0.5, 0.25};
  all.observe(0, 0, ids, lists, scores);
  mean.observe(0, 0, ids, lists, means);
  EXPECT_EQ(all.state(), mean.state());
  EXPECT_EQ(all.state().scores.at(1).initial, 0.25);
  EXPECT_THROW(each.observe(0, 0, ids, lists, means), Error);
  each.observe(0, 0, ids, lists, scores);
  EXPECT_EQ(each.state().scores.size(), 8u);
}

TEST(Mining, RefusesToMineAnewWithoutARanker) { EXPECT_THROW(Mining(world_comm(), {.refill = MiningRefill::remine}, nullptr), Error); }

}  // namespace
}  // namespace lodestone
