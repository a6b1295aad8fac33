// Are positives and negatives chosen as each mode says, and rows left out that the filters name?
#include "data/batches/candidates.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "data/batches/collate.h"
#include "data/batches/row_filter.h"
#include "tests/data/batches/fake_rows.h"

namespace lodestone {
namespace {

using test::FakeRow;
using test::FakeRows;
using test::make_rows;

/// A row of so many texts, all different; what they hold does not matter here.
PackedRow row_of(size_t positives, size_t negatives, std::vector<double> scores = {}) {
  PackedRow row;
  row.positives.resize(positives);
  row.negatives.resize(negatives);
  for (size_t place = 0; place < positives + negatives; ++place)
    (place < positives ? row.positives[place] : row.negatives[place - positives]).text_hash = 100 + place;
  row.score = std::nan("");
  row.teacher_scores = std::move(scores);
  return row;
}

std::vector<int64_t> choice(const CandidateConfig& config, const PackedRow& row, uint64_t key = 1) {
  CandidateChooser chooser(config);
  chooser.choose(row, 0, Key(key));
  return {chooser.choice().begin(), chooser.choice().end()};
}

std::string message_of(const CandidateConfig& config, const PackedRow& row) {
  try {
    choice(config, row);
    return "no error";
  } catch (const Error& error) {
    return cat(static_cast<int>(error.exit_code()), ' ', error.what());
  }
}

Verdict verdict(const RowFilter& filter, const PackedRow& row, const CandidateConfig& candidates = {2}) {
  std::vector<int64_t> usable;
  return judge(row, filter, candidates, usable);
}

struct Case {
  const char* name;
  SelectPositive positive;
  SelectNegative negative;
  int64_t group;
  PackedRow row;
  std::vector<int64_t> expected;  // places in positives, then negatives
  friend std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }
};

class Selection : public ::testing::TestWithParam<Case> {};

TEST_P(Selection, IsAsTheTableSays) {
  const Case& c = GetParam();
  for (uint64_t key = 0; key < 5; ++key)
    EXPECT_EQ(choice({c.group, c.positive, c.negative}, c.row, key), c.expected) << "draws do not matter";
}

using P = SelectPositive;
using N = SelectNegative;
INSTANTIATE_TEST_SUITE_P(
    Modes, Selection,
    ::testing::Values(
        Case{"FirstFirst", P::first, N::first, 3, row_of(2, 3), {0, 2, 3}},
        Case{"FirstRepeatsAShortList", P::first, N::first, 6, row_of(1, 2), {0, 1, 2, 1, 2, 1}},
        Case{"FirstWithoutNegatives", P::first, N::first, 1, row_of(2, 0), {0}},
        Case{"TeacherTakesTheHighestOfAll", P::teacher, N::first, 3, row_of(2, 3, {1, 2, 3, 9, 4}), {3, 2, 4}},
        Case{"TeacherTakesAPositive", P::teacher, N::first, 3, row_of(2, 3, {1, 7, 3, 2, 4}), {1, 2, 3}},
        Case{"TeacherOfHistory", P::teacher, N::first, 3, row_of(0, 4, {-3, -0.5, -2, -1}), {1, 0, 2}},
        Case{"TeacherTakesTheFirstOfEqualScores", P::teacher, N::first, 2, row_of(1, 2, {5, 5, 5}), {0, 1}},
        Case{"TeacherPosLooksAtPositivesAlone", P::teacher_pos, N::first, 3, row_of(2, 3, {1, 2, 3, 9, 4}), {1, 2, 3}},
        Case{"TeacherMinusTakesTheLowest", P::first, N::teacher_minus, 3, row_of(1, 4, {9, 4, 1, 3, 2}), {0, 2, 4}},
        Case{"TeacherPlusTakesTheHighest", P::first, N::teacher_plus, 3, row_of(1, 4, {9, 4, 1, 3, 2}), {0, 1, 3}},
        Case{"TeacherPlusKeepsTheOrderOfEqualScores", P::first, N::teacher_plus, 4, row_of(1, 3, {9, 4, 5, 4}), {0, 2, 1, 3}},
        Case{"TeacherMinusKeepsTheOrderOfEqualScores", P::first, N::teacher_minus, 3, row_of(1, 3, {9, 4, 5, 4}), {0, 1, 3}},
        Case{"TeacherPlusAfterTeacherLeavesThePositiveOut", P::teacher, N::teacher_plus, 3, row_of(0, 4, {1, 8, 9, 2}), {2, 1, 3}},
        Case{"TeacherMinusRepeatsAShortListFromItsStart", P::first, N::teacher_minus, 6, row_of(1, 2, {9, 4, 1}), {0, 2, 1, 2, 1, 2}}),
    [](const auto& info) { return info.param.name; });

TEST(Candidates, RandomNegativesNeverHaveTheTextThatBecameThePositive) {
  const PackedRow row = row_of(1, 5, {1, 2, 9, 4, 5, 6});  // place 2 is the positive
  std::map<int64_t, int> count;
  for (uint64_t key = 0; key < 3000; ++key) {
    const auto chosen = choice({3, P::teacher, N::random}, row, key);
    ASSERT_EQ(chosen[0], 2);
    EXPECT_NE(chosen[1], chosen[2]);
    for (size_t g = 1; g < 3; ++g) ++count[chosen[g]];
  }
  EXPECT_EQ(count.size(), 4u);
  for (const int64_t place : {1, 3, 4, 5}) EXPECT_NEAR(count[place], 1500, 3 * std::sqrt(3000 * 0.5 * 0.5)) << place;
}

TEST(Candidates, RandomRepeatsAShortListAsOftenAsNeeded) {
  for (uint64_t key = 0; key < 50; ++key) {
    std::map<int64_t, int> count;
    for (const int64_t place : choice({8, P::random, N::random}, row_of(1, 3), key)) ++count[place];
    EXPECT_EQ(count[0], 1);
    for (const int64_t place : {1, 2, 3}) EXPECT_TRUE(count[place] >= 1 && count[place] <= 3) << place;
  }
}

class Windows final : public NegativeWindows {
 public:
  int64_t first(int64_t row) const override { return 8 * row + 2; }
};

TEST(Candidates, AWindowSlidesDownTheRowsNegatives) {
  const Windows windows;
  CandidateChooser chooser({5, P::first, N::window}, &windows);
  const auto chosen = [&](int64_t row, const PackedRow& texts) {
    chooser.choose(texts, row, Key(1));
    return std::vector<int64_t>(chooser.choice().begin(), chooser.choice().end());
  };
  EXPECT_EQ(chosen(0, row_of(2, 30)), (std::vector<int64_t>{0, 4, 5, 6, 7})) << "ranks 2 to 5 behind two positives";
  EXPECT_EQ(chosen(1, row_of(1, 30)), (std::vector<int64_t>{0, 11, 12, 13, 14})) << "ranks 10 to 13";
  EXPECT_EQ(chosen(3, row_of(1, 30)), (std::vector<int64_t>{0, 27, 28, 29, 30})) << "the list ends: its last window";
  EXPECT_EQ(chosen(3, row_of(1, 3)), (std::vector<int64_t>{0, 1, 2, 3, 1})) << "a list shorter than the window";
  EXPECT_THROW(CandidateChooser({5, P::first, N::window}), Error);
}

/// Two positives and six negatives, of which the second is the other positive, the fourth and fifth the first one.
PackedRow row_with_positives_among_negatives(std::vector<double> scores = {}) {
  PackedRow row = row_of(2, 6, std::move(scores));
  row.negatives[1].text_hash = row.positives[1].text_hash;
  row.negatives[3].text_hash = row.negatives[4].text_hash = row.positives[0].text_hash;
  return row;
}

TEST(Candidates, ATextOfTheRowsPositivesIsNeverItsNegative) {
  const PackedRow row = row_with_positives_among_negatives({8, 7, 1, 8, 2, 9, 6, 3});  // places 2, 4 and 7 are negatives
  EXPECT_EQ(positives_among_negatives(row), 3);
  std::vector<int64_t> usable;
  usable_negatives(row, P::first, usable);
  EXPECT_EQ(usable, (std::vector<int64_t>{2, 4, 7}));
  EXPECT_EQ(choice({4, P::first, N::first}, row), (std::vector<int64_t>{0, 2, 4, 7}));
  EXPECT_EQ(choice({3, P::first, N::teacher_plus}, row), (std::vector<int64_t>{0, 7, 4}));
  EXPECT_EQ(choice({3, P::first, N::teacher_minus}, row), (std::vector<int64_t>{0, 2, 4}));
  EXPECT_EQ(choice({4, P::teacher, N::first}, row), (std::vector<int64_t>{5, 2, 4, 7})) << "the best is a negative with a positive's text";
  for (uint64_t key = 0; key < 200; ++key)
    for (const int64_t place : choice({3, P::random, N::random}, row, key)) EXPECT_TRUE(place < 3 || place == 4 || place == 7) << place;
  // The window counts places of what is left: [2, 6) of three is all of them, from its first on.
  const Windows windows;
  CandidateChooser chooser({5, P::first, N::window}, &windows);
  chooser.choose(row, 0, Key(1));
  EXPECT_EQ(std::vector<int64_t>(chooser.choice().begin(), chooser.choice().end()), (std::vector<int64_t>{0, 2, 4, 7, 2}));
  EXPECT_EQ(chooser.usable(), 3);
}

TEST(Candidates, ANegativeThatRepeatsTheTextOfTheBestIsNoneEither) {
  PackedRow row = row_of(0, 4, {1, 9, 2, 9});
  row.negatives[3].text_hash = row.negatives[1].text_hash;
  EXPECT_EQ(choice({3, P::teacher, N::first}, row), (std::vector<int64_t>{1, 0, 2}));
  EXPECT_EQ(positives_among_negatives(row), 0);
}

TEST(Candidates, ARowWhoseNegativesAreAllItsPositiveHasNone) {
  PackedRow row = row_of(1, 2);
  row.negatives[0].text_hash = row.negatives[1].text_hash = row.positives[0].text_hash;
  EXPECT_EQ(message_of({2, P::first, N::first}, row), "3 the row has no negative left beside its positives, but each query takes 1");
  EXPECT_EQ(choice({1, P::first, N::first}, row), std::vector<int64_t>{0});
  EXPECT_EQ(verdict({.without_negatives = RowsWithoutNegatives::leave_out}, row), Verdict::no_negative);
}

TEST(Candidates, RefuseRowsThatLackWhatDecides) {
  EXPECT_EQ(message_of({1, P::first, N::first}, row_of(0, 3)), "3 the row has no positive");
  EXPECT_EQ(message_of({1, P::random, N::first}, row_of(0, 3, {1, 2, 3})), "3 the row has no positive");
  EXPECT_EQ(message_of({1, P::teacher_pos, N::first}, row_of(0, 3, {1, 2, 3})), "3 the row has no positive");
  EXPECT_EQ(message_of({1, P::teacher, N::first}, row_of(1, 1)),
            "3 the row has no teacher scores, but select_positive: teacher chooses by them");
  EXPECT_EQ(message_of({1, P::teacher_pos, N::first}, row_of(1, 1)),
            "3 the row has no teacher scores, but select_positive: teacher-pos chooses by them");
  EXPECT_EQ(message_of({2, P::first, N::teacher_plus}, row_of(1, 1)),
            "3 the row has no teacher scores, but select_negative: teacher+ chooses by them");
  EXPECT_EQ(message_of({2, P::first, N::teacher_minus}, row_of(1, 1)),
            "3 the row has no teacher scores, but select_negative: teacher- chooses by them");
  EXPECT_EQ(message_of({2, P::first, N::first}, row_of(1, 0)), "3 the row has no negative, but each query takes 1");
  EXPECT_EQ(message_of({2, P::teacher, N::first}, row_of(0, 1, {4})),
            "3 the row has no negative left beside its positives, but each query takes 1");
  EXPECT_EQ(message_of({1, P::first, N::first}, row_of(2, 2, {1, 2, 3})), "3 the row has 3 teacher scores for 4 passages");
  EXPECT_EQ(message_of({0, P::first, N::first}, row_of(1, 1)), "2 a group of 0 passages has no positive");
}

TEST(Candidates, TeacherScoresOfABatchFollowTheTextsChosen) {
  std::vector<FakeRow> made = make_rows(2, 0, 4);
  made[0].teacher_scores = {0.1, 0.9, 0.3, 0.2};
  made[1].teacher_scores = {5, 1, 7, 6};
  const FakeRows rows(made);
  const std::vector<int64_t> ids = {1, 0};
  Batch batch;
  Collator({.group = 3, .select_positive = P::teacher, .select_negative = N::teacher_minus}, {101, 102, {}, {}, {}})
      .collate(rows, {.rows = ids}, batch);
  EXPECT_EQ(batch.teacher_scores, (std::vector<double>{7, 1, 5, 0.9, 0.1, 0.2}));
  const auto hash = [&](size_t row, size_t k) { return FakeRows::hash(made[row].negatives[k]); };
  EXPECT_EQ(batch.passage_hash, (std::vector<uint64_t>{hash(1, 2), hash(1, 1), hash(1, 0), hash(0, 1), hash(0, 0), hash(0, 3)}));
}

TEST(RowFilter, LeavesOutPairsWhoseGoldScoreIsTooLow) {
  const RowFilter filter{.positive_score_min = 3.5};
  EXPECT_TRUE(filter.active());
  PackedRow row = row_of(1, 0);
  EXPECT_EQ(verdict(filter, row, {1}), Verdict::kept) << "no score, no judgement";
  row.score = 3.5;
  EXPECT_EQ(verdict(filter, row, {1}), Verdict::kept);
  row.score = 3.4;
  EXPECT_EQ(verdict(filter, row, {1}), Verdict::no_positive);
}

TEST(RowFilter, JudgesByTheBestScoreAndByTheMargin) {
  const RowFilter minimum{.teacher_scores_min = 0.5}, margin{.teacher_scores_margin = 0.1};
  EXPECT_EQ(verdict(minimum, row_of(1, 2, {0.1, 0.5, 0.2})), Verdict::kept);
  EXPECT_EQ(verdict(minimum, row_of(1, 2, {0.1, 0.4999, 0.2})), Verdict::score_too_low);
  EXPECT_EQ(verdict(minimum, row_of(1, 2)), Verdict::kept) << "no scores, no judgement";
  EXPECT_EQ(verdict(margin, row_of(0, 3, {-2, -1.95, -1.901})), Verdict::margin_too_small);
  EXPECT_EQ(verdict(margin, row_of(0, 3, {-2, -1.95, -1.9})), Verdict::kept);
  EXPECT_EQ(verdict({.teacher_scores_min = -1.0, .teacher_scores_margin = 9.0}, row_of(0, 2, {-2, -3})), Verdict::score_too_low)
      << "the first that applies";
  const RowFilter lacking{.without_negatives = RowsWithoutNegatives::leave_out};
  EXPECT_EQ(verdict({}, row_of(1, 0)), Verdict::kept);
  EXPECT_EQ(verdict(lacking, row_of(1, 0)), Verdict::no_negative);
  EXPECT_EQ(verdict(lacking, row_of(1, 0), {1}), Verdict::kept) << "none is needed";
  EXPECT_EQ(verdict(lacking, row_of(1, 1, {0.3, 0.4})), Verdict::kept);
  EXPECT_EQ(verdict(lacking, row_of(1, 1, {0.3, 0.4}), {2, P::teacher}), Verdict::no_negative) << "the only one is the positive";
  EXPECT_EQ(verdict(lacking, row_of(1, 1, {0.4, 0.3}), {2, P::teacher}), Verdict::kept);
  EXPECT_THROW(verdict(minimum, row_of(1, 1, {0.4})), Error);
}

std::vector<FakeRow> scored_rows(int n) {
  std::vector<FakeRow> made = make_rows(n, 1, 1);
  for (size_t r = 0; r < made.size(); ++r) {
    made[r].source = r % 4 == 0 ? 1 : 0;
    made[r].teacher_scores = {0.01 * static_cast<double>(r * 37 % 100), 0};
  }
  return made;
}

TEST(FilteredRows, NumberTheRowsThatAreKeptAndCountTheOthers) {
  const std::vector<FakeRow> made = scored_rows(1000);
  const FakeRows all(made);
  std::vector<uint8_t> verdict;
  for (const auto& [begin, end] : {std::pair{0, 300}, {300, 301}, {301, 1000}}) {  // as three ranks would share them
    const auto part = judge_rows(all, {.teacher_scores_min = 0.25}, {2}, begin, end);
    verdict.insert(verdict.end(), part.begin(), part.end());
  }
  const FilteredRows rows(all, verdict);
  EXPECT_EQ(rows.counts()[0] + rows.counts()[1], 1000);
  EXPECT_EQ(rows.counts()[1], 250);
  ASSERT_EQ(rows.sources().size(), 2u);
  EXPECT_EQ(rows.sources()[0].rows + rows.sources()[1].rows, 750);
  for (int32_t s = 0; s < 2; ++s) {
    std::vector<int64_t> expected, ids;
    for (size_t r = 0; r < made.size(); ++r) {
      if (made[r].source == s && made[r].teacher_scores[0] >= 0.25) expected.push_back(static_cast<int64_t>(r));
    }
    for (int64_t k = 0; k < rows.sources()[static_cast<size_t>(s)].rows; ++k) ids.push_back(rows.row_of(s, k));
    EXPECT_EQ(ids, expected);
    EXPECT_THROW((void)rows.row_of(s, std::ssize(expected)), Error);
  }
}

TEST(FilteredRows, MakeAPlanWhoseEpochsHaveExactlyTheRowsKept) {
  const FakeRows all(scored_rows(1000));
  const FilteredRows rows(all, judge_rows(all, {.teacher_scores_min = 0.25}, {2}, 0, 1000));
  const Plan plan({.global_batch = 6, .batches = 125, .batching = Batching::mixed}, plan_sources(rows.sources()));
  std::set<int64_t> seen;
  Part part;
  for (int64_t draw = 0; draw < 125; ++draw) {
    plan.batch(draw, part);
    for (const int64_t k : part.rows) {
      const SourceRow row = plan.locate(part.source, k);
      seen.insert(rows.row_of(row.source, row.k));
    }
  }
  EXPECT_EQ(seen.size(), 750u);
  for (const int64_t row : seen) EXPECT_GE(row * 37 % 100, 25);
}

TEST(FilteredRows, NameTheRowWhoseScoresDoNotMatch) {
  std::vector<FakeRow> made = scored_rows(5);
  made[3].teacher_scores = {1};
  try {
    (void)judge_rows(FakeRows(made), {.teacher_scores_min = 0.0}, {2}, 0, 5);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(cat(error.what(), "; ", error.where()), "the row has 1 teacher scores for 2 passages; row=3 source=s0");
  }
}

}  // namespace
}  // namespace lodestone
