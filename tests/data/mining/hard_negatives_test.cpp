// Dynamic hard-negative mining: trigger and window tables, what happens to a row over its life, and independence of ranks.
#include "data/mining/hard_negatives.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <tuple>

#include "core/rng.h"
#include "data/files/durable.h"
#include "tests/support/temp_dir.h"

namespace lodestone::test {
namespace {

constexpr int64_t row = 7;

TEST(HardNegatives, TriggerTable) {
  const HardNegativesConfig c;
  EXPECT_TRUE(mean_became_easy(c, 0.70, 0.60));
  EXPECT_FALSE(mean_became_easy(c, 0.70, 0.61));
  EXPECT_FALSE(mean_became_easy(c, 0.95, 0.82));  // still 0.8 or more
  EXPECT_TRUE(mean_became_easy(c, 0.95, 0.79));
  EXPECT_TRUE(mean_became_easy(c, -0.10, -0.20));
  EXPECT_FALSE(mean_became_easy(c, 0.30, 0.30));
  EXPECT_FALSE(mean_became_easy(c, -0.50, -0.85));  // the limit is on the absolute value
}

TEST(HardNegatives, WindowTable) {
  const auto window = [](int64_t n, int64_t i) { return negative_window({.negatives = n}, i); };
  EXPECT_EQ(window(8, 0), (Slice{2, 10}));
  EXPECT_EQ(window(8, 1), (Slice{10, 18}));
  EXPECT_EQ(window(8, 2), (Slice{18, 26}));
  EXPECT_EQ(window(8, 3), (Slice{26, 34}));
  EXPECT_EQ(window(1, 0), (Slice{9, 10}));
  EXPECT_EQ(window(1, 5), (Slice{14, 15}));
  EXPECT_EQ(window(16, 0), (Slice{0, 16}));  // would begin at -6
  EXPECT_EQ(window(16, 1), (Slice{10, 26}));
}

TEST(HardNegatives, ChecksFollowStep100AndNotStep99) {
  const HardNegativesConfig c;
  EXPECT_FALSE(mining_due(c, 0));
  EXPECT_FALSE(mining_due(c, 99));
  EXPECT_TRUE(mining_due(c, 100));
  EXPECT_FALSE(mining_due(c, 101));
  EXPECT_TRUE(mining_due(c, 200));
}

TEST(HardNegatives, PlacesInShortListsAreMovedUpOrRepeated) {
  const HardNegatives h({.negatives = 4});
  const auto places = [&](int64_t available) {
    std::vector<int64_t> p;
    for (int64_t k = 0; k < 4; ++k) p.push_back(negative_place(h, row, k, 4, available));
    return p;
  };
  EXPECT_EQ(places(50), (std::vector<int64_t>{6, 7, 8, 9}));
  EXPECT_EQ(places(9), (std::vector<int64_t>{5, 6, 7, 8}));
  EXPECT_EQ(places(4), (std::vector<int64_t>{0, 1, 2, 3}));
  EXPECT_EQ(places(3), (std::vector<int64_t>{0, 1, 2, 0}));
  EXPECT_EQ(places(1), (std::vector<int64_t>{0, 0, 0, 0}));
}

/// One rank that owns everything.
struct Life {
  explicit Life(const HardNegativesConfig& config) : negatives(config) {}
  void score(double value, int64_t available, int32_t negative = 0) {
    negatives.add({{.row = row, .step = ++step, .negative = negative, .available = available, .score = value}});
  }
  MiningReport check(const NegativeRankings& rankings = {}) {
    const MiningCheck found = negatives.check();
    MiningReport report = negatives.replace(found.events, rankings);
    report.checked = found.checked;
    return report;
  }
  HardNegatives negatives;
  int64_t step = 0;
};

TEST(HardNegatives, TheWindowSlidesAndTheFirstScoreIsTakenAnew) {
  Life life({});
  life.score(0.70, 40);
  EXPECT_EQ(life.check().replaced, 0);
  life.score(0.60, 40);
  MiningReport r = life.check();
  EXPECT_EQ(r.checked, 1);
  EXPECT_EQ(r.replaced, 1);
  EXPECT_DOUBLE_EQ(r.old_score(), 0.60);
  EXPECT_EQ(life.negatives.first(row), 10);
  EXPECT_EQ(life.negatives.replacements(row), 1);
  life.score(0.50, 40);  // 1.15 * 0.5 < 0.7: with the old S_init this would trigger again
  r = life.check();
  EXPECT_EQ(r.replaced, 0);
  EXPECT_EQ(r.first_scored, 1);
  EXPECT_DOUBLE_EQ(r.new_score(), 0.50);
  life.score(0.44, 40);  // 0.506 > 0.5
  r = life.check();
  EXPECT_EQ(r.replaced, 0);
  EXPECT_EQ(r.first_scored, 0);
  life.score(0.43, 40);
  EXPECT_EQ(life.check().replaced, 1);
  EXPECT_EQ(life.negatives.first(row), 18);
}

TEST(HardNegatives, OnlyRowsScoredSinceTheLastCheckAreJudged) {
  Life life({});
  life.score(0.7, 40);
  EXPECT_EQ(life.check().checked, 1);
  EXPECT_EQ(life.check().checked, 0);
  life.score(0.1, 40);
  life.score(0.69, 40);  // the last score counts
  const MiningReport r = life.check();
  EXPECT_EQ(r.checked, 1);
  EXPECT_EQ(r.replaced, 0);
}

TEST(HardNegatives, AnEndedListKeepsItsLastFullWindow) {
  Life life({});
  for (int i = 0; i < 5; ++i) {
    life.score(0.7, 27);  // windows [2,10), [10,18), [18,26); [26,34) does not fit
    life.check();
    life.score(0.3, 27);
    const MiningReport r = life.check();
    EXPECT_EQ(r.replaced, i < 2 ? 1 : 0) << i;
    EXPECT_EQ(r.exhausted, i == 2 ? 1 : 0) << i;
  }
  EXPECT_EQ(life.negatives.first(row), 18);
  EXPECT_TRUE(life.negatives.exhausted(row));
  life.score(0.1, 27);
  const MiningCheck found = life.negatives.check();
  EXPECT_EQ(found.checked, 1);
  EXPECT_TRUE(found.events.empty()) << "an ended list is asked for again";
}

TEST(HardNegatives, ScoresOfOneStepAreAveragedAndNonFiniteOnesLeftOut) {
  HardNegatives h({});
  h.add({{row, 1, 0, 1, 40, 0.9}, {row, 1, 0, 0, 40, 0.5}, {row, 3, 0, 0, 40, NAN}, {row, 2, 0, 0, 40, 0.60}});
  const MiningState s = h.state();
  ASSERT_EQ(s.scores.size(), 1u);
  EXPECT_DOUBLE_EQ(s.scores[0].initial, 0.7);
  EXPECT_DOUBLE_EQ(s.scores[0].current, 0.60);
}

TEST(HardNegatives, ARemadeListBeginsWithItsFirstWindow) {
  Life life({.negatives = 4, .refill = MiningRefill::remine});
  std::vector<int32_t> ranking(20);
  std::iota(ranking.rbegin(), ranking.rend(), 0);  // the last place first
  life.score(0.7, 20);
  life.check();
  life.score(0.5, 20);
  EXPECT_EQ(life.check({{row, ranking}}).replaced, 1);
  const auto chosen = life.negatives.chosen(row);
  EXPECT_EQ(std::vector<int32_t>(chosen.begin(), chosen.end()), (std::vector<int32_t>{13, 12, 11, 10}));  // ranks 6 to 9
  EXPECT_EQ(negative_place(life.negatives, row, 2, 4, 20), 11);
  life.score(0.8, 20);
  life.check();
  life.score(0.5, 20);
  ranking.resize(6);  // a short list: its last four
  EXPECT_EQ(life.check({{row, ranking}}).replaced, 1);
  EXPECT_EQ(life.negatives.chosen(row)[0], 17);
  life.score(0.8, 20);
  life.check();
  life.score(0.5, 20);
  ranking.resize(4);  // nothing but what a row needs: nothing to choose from
  const MiningReport r = life.check({{row, ranking}});
  EXPECT_EQ(r.replaced, 0);
  EXPECT_EQ(r.exhausted, 1);
  EXPECT_EQ(life.negatives.chosen(row)[0], 17);
}

TEST(HardNegatives, PerNegativeTable) {
  const HardNegativesConfig c{.rule = MiningRule::each};
  EXPECT_TRUE(negative_became_easy(c, 0.70, 0.58));
  EXPECT_FALSE(negative_became_easy(c, 0.70, 0.59));  // 0.708
  EXPECT_FALSE(negative_became_easy(c, 0.95, 0.70));  // not below 0.7
  EXPECT_TRUE(negative_became_easy(c, 0.95, 0.69));
  EXPECT_FALSE(negative_became_easy(c, 0.50, 0.50));
  EXPECT_TRUE(negative_became_easy(c, 0.41, 0.34));
  struct FirstSight {
    double score;
    int64_t replaced;
  };
  for (const FirstSight f : {FirstSight{0.39, 1}, {0.40, 0}, {0.90, 0}, {-0.5, 1}}) {
    Life life({.every = 1, .rule = MiningRule::each});
    life.score(f.score, 40, 3);
    EXPECT_EQ(life.check().replaced, f.replaced) << f.score;
    life.score(f.score, 40, 3);
    EXPECT_EQ(life.check().replaced, f.replaced) << "the successor is seen for the first time too";
  }
}

TEST(HardNegatives, NegativesAreReplacedOneByOneByTheNextOfTheList) {
  Life life({.negatives = 3, .every = 1, .rule = MiningRule::each});  // window [7,10)
  for (int32_t k = 0; k < 3; ++k) life.score(0.9, 12, k);
  life.check();
  life.score(0.5, 12, 1);
  EXPECT_EQ(life.check().replaced, 1);
  const auto places = [&] {
    const auto p = life.negatives.chosen(row);
    return std::vector<int32_t>(p.begin(), p.end());
  };
  EXPECT_EQ(places(), (std::vector<int32_t>{7, 10, 9}));
  life.score(0.3, 12, 1);  // below the floor at first sight
  MiningReport r = life.check();
  EXPECT_EQ(r.first_scored, 1);
  EXPECT_DOUBLE_EQ(r.new_score(), 0.3);
  EXPECT_EQ(places(), (std::vector<int32_t>{7, 11, 9}));
  life.score(0.5, 12, 0);
  life.score(0.5, 12, 2);
  r = life.check();  // the list of 12 has ended
  EXPECT_EQ(r.replaced, 0);
  EXPECT_EQ(r.exhausted, 1);
  EXPECT_EQ(places(), (std::vector<int32_t>{7, 11, 9}));
  Life tiny({.negatives = 3, .every = 1, .rule = MiningRule::each});
  tiny.score(0.1, 2, 0);
  EXPECT_EQ(tiny.check().exhausted, 1);
  EXPECT_TRUE(tiny.negatives.chosen(row).empty());
}

TEST(HardNegatives, ImpossibleSettingsAreRefused) {
  EXPECT_THROW(HardNegatives({.negatives = 0}), Error);
  EXPECT_THROW(HardNegatives({.every = 0}), Error);
  EXPECT_THROW(HardNegatives({.rule = MiningRule::each, .refill = MiningRefill::remine}), Error);
}

/// W ranks in one process: owners judge, everybody replaces.
class Ranks {
 public:
  Ranks(int world, const HardNegativesConfig& config) : ranks_(static_cast<size_t>(world), HardNegatives(config)) {}
  Ranks(int world, const HardNegativesConfig& config, const MiningState& state) : Ranks(world, config) {
    for (int r = 0; r < world; ++r) ranks_[static_cast<size_t>(r)].restore(state, r, world);
  }
  void add(const std::vector<NegativeScore>& scores) {
    for (int r = 0; r < world(); ++r) {
      std::vector<NegativeScore> own;
      for (const NegativeScore& s : scores)
        if (mining_owner(s.row, world()) == r) own.push_back(s);
      ranks_[static_cast<size_t>(r)].add(own);
    }
  }
  MiningReport check() {
    std::vector<NegativeEvent> events;
    NegativeRankings rankings;
    for (HardNegatives& h : ranks_)
      for (const NegativeEvent& e : h.check().events) events.push_back(e);
    const auto place = [](const NegativeEvent& e) { return std::tuple(e.row, e.negative, e.kind); };
    std::sort(events.begin(), events.end(), [&](const auto& a, const auto& b) { return place(a) < place(b); });
    for (const NegativeEvent& e : events) {
      std::vector<int32_t>& ranking = rankings[e.row];
      for (int64_t i = 0; i < e.available; ++i) ranking.push_back(static_cast<int32_t>((i + e.row) % e.available));
    }
    MiningReport report;
    for (HardNegatives& h : ranks_) report = h.replace(events, rankings);
    return report;
  }
  MiningState state() const {
    MiningState all = ranks_[0].state();
    for (int r = 1; r < world(); ++r) {
      const MiningState s = ranks_[static_cast<size_t>(r)].state();
      EXPECT_EQ(s.rows, all.rows) << "ranks differ in what was replaced";
      EXPECT_EQ(s.chosen, all.chosen);
      all.scores.insert(all.scores.end(), s.scores.begin(), s.scores.end());
    }
    const auto place = [](const MiningState::Score& s) { return std::tuple(s.row, s.negative); };
    std::sort(all.scores.begin(), all.scores.end(), [&](const auto& a, const auto& b) { return place(a) < place(b); });
    return all;
  }
  const HardNegatives& negatives() const { return ranks_[0]; }

 private:
  int world() const { return static_cast<int>(ranks_.size()); }
  std::vector<HardNegatives> ranks_;
};

/// A run with scores that sink as long as a window is in use; saved and restored with another number of ranks after `cut` steps.
MiningState simulate(const HardNegativesConfig& config, int world, int64_t cut, int world_after, std::vector<MiningReport>* reports) {
  constexpr int64_t rows = 40, steps = 60, batch = 10;
  const TempDir dir;
  auto ranks = std::make_unique<Ranks>(world, config);
  for (int64_t step = 0; step < steps; ++step) {
    if (step == cut) {
      write_new_file(dir / mining_state_file, mining_state_document(ranks->state()));
      ranks = std::make_unique<Ranks>(world_after, config, read_mining_state(dir / mining_state_file));
    }
    std::vector<NegativeScore> scores;
    for (int64_t b = 0; b < batch; ++b) {
      const int64_t r = (step * batch + b) * 7 % rows, available = 3 + r;
      for (int32_t k = 0; k < (config.rule == MiningRule::each ? config.negatives : 1); ++k) {
        const int64_t place = negative_place(ranks->negatives(), r, k, config.negatives, available);
        const double hard = 0.95 - 0.2 * Key(1).with(static_cast<uint64_t>(r)).uniform(static_cast<uint64_t>(place));
        scores.push_back({r, step, k, 0, available, hard - 0.02 * static_cast<double>((step + r) % 12)});
      }
    }
    std::reverse(scores.begin(), scores.end());
    ranks->add(scores);
    if (!mining_due(config, step + 1)) continue;
    const MiningReport report = ranks->check();
    if (reports != nullptr) reports->push_back(report);
  }
  return ranks->state();
}

TEST(HardNegatives, ReplacementsDoNotDependOnTheNumberOfRanksNorOnARestartWithAnother) {
  for (const HardNegativesConfig& config :
       {HardNegativesConfig{.negatives = 4, .every = 5}, HardNegativesConfig{.negatives = 4, .every = 5, .refill = MiningRefill::remine},
        HardNegativesConfig{.negatives = 3, .every = 1, .rule = MiningRule::each}}) {
    std::vector<MiningReport> reports;
    const MiningState expected = simulate(config, 1, 0, 1, &reports);
    int64_t replaced = 0, exhausted = 0, first_scored = 0;
    for (const MiningReport& r : reports) replaced += r.replaced, exhausted += r.exhausted, first_scored += r.first_scored;
    EXPECT_GT(replaced, 20) << "the run shows nothing";
    EXPECT_GT(first_scored, 10);
    EXPECT_GT(exhausted, 0);
    for (const auto& [world, cut, after] : {std::tuple{2, 0, 3}, {3, 23, 1}, {1, 25, 4}, {4, 58, 2}, {5, 31, 5}}) {
      std::vector<MiningReport> again;
      EXPECT_EQ(simulate(config, world, cut, after, &again), expected) << world << " ranks, " << after << " after step " << cut;
      ASSERT_EQ(again.size(), reports.size());
      for (size_t i = 0; i < reports.size(); ++i) {
        EXPECT_EQ(again[i].replaced, reports[i].replaced);
        EXPECT_EQ(again[i].old_score_sum, reports[i].old_score_sum);
        EXPECT_EQ(again[i].new_score_sum, reports[i].new_score_sum);
      }
    }
  }
}

TEST(HardNegatives, ADamagedStateIsRefused) {
  const TempDir dir;
  const MiningState empty;
  write_new_file(dir / "empty", mining_state_document(empty));
  EXPECT_EQ(read_mining_state(dir / "empty"), empty);
  MiningState state;
  state.scores.push_back({3, 0, 1, 40, 0.5, 0.25});
  state.rows.push_back({3, 1, 0, 0, 2});
  state.chosen = {4};  // one of two
  write_new_file(dir / "short", mining_state_document(state));
  EXPECT_THROW(read_mining_state(dir / "short"), Error);
  state.chosen = {4, 6};
  const std::string good = mining_state_document(state);
  write_new_file(dir / "cut", good.substr(0, good.size() - 4));
  EXPECT_THROW(read_mining_state(dir / "cut"), Error);
}

}  // namespace
}  // namespace lodestone::test
