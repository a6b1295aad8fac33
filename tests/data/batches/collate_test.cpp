// Are batches what tokenising whole texts would give, and the same rows whatever the number of ranks?
#include "data/batches/collate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "tests/data/batches/fake_rows.h"

namespace lodestone {
namespace {

using test::FakeRow;
using test::FakeRows;
using test::make_rows;

constexpr int32_t cls = 101, sep = 102;
const Framing plain{cls, sep, {}, {}, {}};

std::vector<int64_t> first_rows(int64_t n) {
  std::vector<int64_t> ids(static_cast<size_t>(n));
  std::iota(ids.begin(), ids.end(), 0);
  return ids;
}

Batch collate(const CollateConfig& config, const Framing& framing, const RowSource& rows, const BatchRows& which) {
  Batch batch;
  Collator(config, framing).collate(rows, which, batch);
  return batch;
}

std::vector<int32_t> text(const Batch& batch, int64_t b) {
  const auto at = [&](int64_t i) { return batch.ids.begin() + batch.offsets[static_cast<size_t>(i)]; };
  return {at(b), at(b + 1)};
}

std::string message_of(const CollateConfig& config, const Framing& framing, const RowSource& rows, const BatchRows& which) {
  try {
    collate(config, framing, rows, which);
    return "no error";
  } catch (const Error& error) {
    return cat(static_cast<int>(error.exit_code()), " ", error.what(), "; ", error.where());
  }
}

TEST(Collate, PutsQueriesFirstThenPassagesQueryMajor) {
  const FakeRows rows(
      {{.query = {1, 2}, .positives = {{10}}, .negatives = {{20, 21}}}, {.query = {3}, .positives = {{11, 12}}, .negatives = {{22}}}});
  const std::vector<int64_t> ids = {1, 0};
  const Batch batch = collate({.group = 2}, plain, rows, {.source = 4, .rows = ids});
  EXPECT_EQ(batch.ids, (std::vector<int32_t>{cls, 3, sep, cls, 1, 2, sep, cls, 11, 12, sep, cls, 22, sep, cls, 10, sep, cls, 20, 21, sep}));
  EXPECT_EQ(batch.offsets, (std::vector<int64_t>{0, 3, 7, 11, 14, 17, 21}));
  EXPECT_EQ(batch.query_hash, (std::vector<uint64_t>{FakeRows::hash({3}), FakeRows::hash({1, 2})}));
  EXPECT_EQ(batch.passage_hash,
            (std::vector<uint64_t>{FakeRows::hash({11, 12}), FakeRows::hash({22}), FakeRows::hash({10}), FakeRows::hash({20, 21})}));
  EXPECT_EQ(batch.rows, ids);
  EXPECT_EQ(batch.keys, (std::vector<uint64_t>{text_key(1, Role::query, 0, 0), text_key(0, Role::query, 0, 1),
                                               text_key(1, Role::positive, 0, 0), text_key(1, Role::negative, 0, 0),
                                               text_key(0, Role::positive, 0, 1), text_key(0, Role::negative, 0, 1)}));
  EXPECT_EQ(batch.source, 4);
  EXPECT_EQ(batch.global_queries, 2);
  EXPECT_TRUE(batch.scores.empty());
  EXPECT_TRUE(batch.teacher_scores.empty());
}

TEST(Collate, PromptsStandBehindClsAndARowsOwnReplacesTheQueryPrompt) {
  const FakeRows rows({{.query = {1, 2}, .positives = {{10}}}, {.query = {3}, .positives = {{11}}, .prompt = 1}}, {"x", "y"});
  const Framing framing{cls, sep, {7, 8}, {9}, {{55}, {66, 67, 68}}};
  const std::vector<int64_t> ids = {0, 1};
  const Batch batch = collate({}, framing, rows, {.rows = ids});
  EXPECT_EQ(text(batch, 0), (std::vector<int32_t>{cls, 7, 8, 1, 2, sep}));
  EXPECT_EQ(text(batch, 1), (std::vector<int32_t>{cls, 66, 67, 68, 3, sep}));
  EXPECT_EQ(text(batch, 2), (std::vector<int32_t>{cls, 9, 10, sep}));
  EXPECT_EQ(text(batch, 3), (std::vector<int32_t>{cls, 9, 11, sep}));
}

// Hugging Face with truncation and max_length m keeps the first m - 2 ids of prompt and text and puts [SEP] behind them.
TEST(Collate, TruncatesFromTheRightWithSpecialTokensCounted) {
  const FakeRows rows({{.query = {1, 2, 3, 4, 5}, .positives = {{10, 11, 12, 13}}}});
  const std::vector<int64_t> ids = {0};
  for (int64_t m = 4; m <= 9; ++m) {
    const Batch batch = collate({.query_max_len = m, .passage_max_len = m}, {cls, sep, {7}, {}, {}}, rows, {.rows = ids});
    const auto expect = [m](std::vector<int32_t> whole) {
      whole.resize(std::min(whole.size(), static_cast<size_t>(m - 2)));
      whole.insert(whole.begin(), cls);
      whole.push_back(sep);
      return whole;
    };
    EXPECT_EQ(text(batch, 0), expect({7, 1, 2, 3, 4, 5})) << m;
    EXPECT_EQ(text(batch, 1), expect({10, 11, 12, 13})) << m;
  }
}

TEST(Collate, RefusesLengthsWithoutRoomForAText) {
  EXPECT_THROW(Collator({.query_max_len = 2}, plain), Error);
  EXPECT_THROW(Collator({.query_max_len = 4}, {cls, sep, {7, 8}, {}, {}}), Error);
  EXPECT_THROW(Collator({.query_max_len = 4}, {cls, sep, {}, {}, {{7, 8}}}), Error);
  EXPECT_THROW(Collator({.passage_max_len = 5}, {cls, sep, {}, {7, 8, 9}, {}}), Error);
  EXPECT_NO_THROW(Collator({.query_max_len = 5, .passage_max_len = 3}, {cls, sep, {7, 8}, {}, {}}));
  EXPECT_THROW(Collator({.group = 0}, plain), Error);
}

TEST(Collate, RanksPutTogetherGiveTheBatchOfAWorldOfOne) {
  std::vector<FakeRow> made = make_rows(40, 3, 2);
  for (size_t r = 0; r < made.size(); ++r) {
    made[r].prompt = static_cast<int32_t>(r % 3) - 1;
    made[r].score = 0.5 * static_cast<double>(r);
    for (int k = 0; k < 5; ++k) made[r].teacher_scores.push_back(static_cast<double>(r) + 0.1 * k);
  }
  const FakeRows rows(made, {"x", "y"});
  const Framing framing{cls, sep, {7}, {8, 9}, {{55}, {66, 67}}};
  const CollateConfig config{.group = 4, .query_max_len = 8, .passage_max_len = 9, .seed = 12};
  for (int64_t n = 1; n <= 17; ++n) {
    std::vector<int64_t> ids;
    for (int64_t i = 0; i < n; ++i) ids.push_back((i * 13 + 5) % 40);
    const Batch whole = collate(config, framing, rows, {.step = 6, .source = 2, .rows = ids});
    ASSERT_EQ(whole.queries, n);
    for (int world = 1; world <= std::min<int64_t>(n, 5); ++world) {
      std::vector<std::vector<int32_t>> queries, passages;
      Batch joined;
      for (int rank = 0; rank < world; ++rank) {
        const Batch part = collate(config, framing, rows, {.step = 6, .source = 2, .rows = ids, .rank = rank, .world = world});
        EXPECT_EQ(part.first_query, static_cast<int64_t>(queries.size()));
        EXPECT_EQ(part.global_queries, n);
        ASSERT_EQ(part.rank_queries.size(), static_cast<size_t>(world));
        EXPECT_EQ(part.rank_queries[static_cast<size_t>(rank)], part.queries);
        EXPECT_EQ(std::accumulate(part.rank_queries.begin(), part.rank_queries.end(), int64_t{0}), n);
        ASSERT_EQ(part.tokens().texts(), part.queries * 5);
        ASSERT_EQ(part.offsets.back(), part.tokens().tokens());
        for (int64_t b = 0; b < part.queries; ++b) queries.push_back(text(part, b));
        for (int64_t b = part.queries; b < part.queries * 5; ++b) passages.push_back(text(part, b));
        const auto append = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
        append(joined.rows, part.rows);
        append(joined.query_hash, part.query_hash);
        append(joined.passage_hash, part.passage_hash);
        append(joined.passage_document, part.passage_document);
        append(joined.scores, part.scores);
        append(joined.teacher_scores, part.teacher_scores);
        for (int64_t b = 0; b < part.queries; ++b) {  // keys in the order of the whole batch
          joined.keys.insert(joined.keys.begin() + part.first_query + b, part.keys[static_cast<size_t>(b)]);
        }
        joined.keys.insert(joined.keys.end(), part.keys.begin() + part.queries, part.keys.end());
      }
      queries.insert(queries.end(), passages.begin(), passages.end());
      ASSERT_EQ(static_cast<int64_t>(queries.size()), whole.tokens().texts());
      for (size_t b = 0; b < queries.size(); ++b) EXPECT_EQ(queries[b], text(whole, static_cast<int64_t>(b)));
      EXPECT_EQ(joined.rows, whole.rows);
      EXPECT_EQ(joined.keys, whole.keys);
      EXPECT_EQ(joined.query_hash, whole.query_hash);
      EXPECT_EQ(joined.passage_hash, whole.passage_hash);
      EXPECT_EQ(joined.passage_document, whole.passage_document);
      EXPECT_EQ(joined.scores, whole.scores);
      EXPECT_EQ(joined.teacher_scores, whole.teacher_scores);
    }
  }
}

TEST(Collate, EvaluationHasNoKeys) {
  const FakeRows rows(make_rows(2, 1, 0));
  const std::vector<int64_t> ids = first_rows(2);
  EXPECT_TRUE(collate({.purpose = Purpose::evaluation}, plain, rows, {.rows = ids}).keys.empty());
  EXPECT_EQ(collate({.purpose = Purpose::training}, plain, rows, {.rows = ids}).keys.size(), 4u);
}

TEST(Collate, KeysOfABatchAreAllDifferent) {
  const FakeRows rows(make_rows(64, 1, 7));
  const std::vector<int64_t> ids = first_rows(64);
  const Batch batch = collate({.group = 8}, plain, rows, {.rows = ids});
  EXPECT_EQ(std::set<uint64_t>(batch.keys.begin(), batch.keys.end()).size(), 64u * 9);
}

// 3 positives, 5 negatives of which 2 are taken: each positive in 1/3 of 3,000 steps, each negative in 2/5; within 4 sigma.
TEST(GroupSampling, DrawsPositivesAndNegativesUniformly) {
  const FakeRows rows(make_rows(1, 3, 5));
  const std::vector<int64_t> ids = {0};
  std::map<int32_t, double> count;
  Batch batch;
  Collator collator({.group = 3, .seed = 4}, plain);
  for (int64_t step = 0; step < 3000; ++step) {
    collator.collate(rows, {.step = step, .rows = ids}, batch);
    for (int64_t g = 0; g < 3; ++g) ++count[text(batch, 1 + g)[1] / 20];  // which text of the row
    EXPECT_NE(batch.passage_hash[1], batch.passage_hash[2]) << "without replacement";
  }
  ASSERT_EQ(count.size(), 8u);
  for (int32_t place = 1; place <= 3; ++place) EXPECT_NEAR(count[place], 1000, 4 * std::sqrt(3000 * 1.0 / 3 * 2 / 3)) << place;
  for (int32_t place = 4; place <= 8; ++place) EXPECT_NEAR(count[place], 1200, 4 * std::sqrt(3000 * 0.4 * 0.6)) << place;
}

TEST(GroupSampling, RepeatsNegativesWhenTheyAreTooFew) {
  const FakeRows rows(make_rows(1, 1, 3));
  const std::vector<int64_t> ids = {0};
  for (int64_t step = 0; step < 50; ++step) {
    const Batch batch = collate({.group = 8}, plain, rows, {.step = step, .rows = ids});  // 7 of 3 x 3
    std::map<uint64_t, int> count;
    for (size_t k = 1; k < 8; ++k) ++count[batch.passage_hash[k]];
    EXPECT_EQ(count.size(), 3u);
    for (const auto& [hash, times] : count) EXPECT_LE(times, 3);
  }
  const Batch one = collate({.group = 3}, plain, FakeRows(make_rows(1, 1, 1)), {.rows = ids});
  EXPECT_EQ(one.passage_hash[1], one.passage_hash[2]);
}

TEST(GroupSampling, TeacherScoresFollowTheDrawnPassages) {
  std::vector<FakeRow> made = make_rows(1, 2, 3);
  made[0].teacher_scores = {1, 2, 3, 4, 5};  // of text 1 to 5
  const FakeRows rows(made);
  const std::vector<int64_t> ids = {0};
  for (int64_t step = 0; step < 20; ++step) {
    const Batch batch = collate({.group = 3}, plain, rows, {.step = step, .rows = ids});
    for (size_t g = 0; g < 3; ++g) EXPECT_EQ(batch.teacher_scores[g], text(batch, 1 + static_cast<int64_t>(g))[1] / 20);
  }
}

TEST(Collate, RefusesRowsItCannotUseByNumberAndSource) {
  std::vector<FakeRow> made = make_rows(4, 1, 1);
  made[1].negatives.clear();
  made[2].positives.clear();
  made[3].teacher_scores = {0.5};
  const FakeRows rows(made);
  const std::vector<int64_t> none = {0, 1}, positive = {2}, teacher = {3}, mixed = {0, 3};
  EXPECT_EQ(message_of({.group = 2}, plain, rows, {.rows = none}), "3 the row has no negative, but each query takes 1; row=1 source=s0");
  EXPECT_EQ(message_of({.group = 1}, plain, rows, {.rows = none}), "no error");
  EXPECT_EQ(message_of({.group = 1}, plain, rows, {.rows = positive}), "3 the row has no positive; row=2 source=s0");
  EXPECT_EQ(message_of({.group = 1}, plain, rows, {.rows = teacher}), "3 the row has 1 teacher scores for 2 passages; row=3 source=s0");
  made[3].teacher_scores = {0.5, 0.1};
  EXPECT_EQ(message_of({.group = 1}, plain, FakeRows(made), {.rows = mixed}),
            "3 only some rows of the batch have teacher scores; row=3 source=s0");
  made[1].score = 1;
  EXPECT_EQ(message_of({.group = 1}, plain, FakeRows(made), {.rows = none}),
            "3 only some rows of the batch have gold scores; row=1 source=s0");
}

TEST(Collate, SourcesOfSmallerGroupsHaveThemOnEveryRank) {
  std::vector<FakeRow> made = make_rows(12, 1, 5);
  for (size_t r = 6; r < 12; ++r) made[r].source = 1;
  const FakeRows rows(made);
  Collator collator({.group = 4, .source_groups = {4, 2}, .select_negative = SelectNegative::first}, plain);
  Batch batch;
  for (const int64_t first : {int64_t{0}, int64_t{6}}) {
    const std::vector<int64_t> ids{first, first + 1, first + 2};
    const int64_t group = first == 0 ? 4 : 2;
    int64_t texts = 0;
    for (int rank = 0; rank < 4; ++rank) {  // the last one without rows
      collator.collate(rows, {.rows = ids, .rank = rank, .world = 4}, batch);
      EXPECT_EQ(batch.group, group);
      EXPECT_EQ(batch.tokens().texts(), batch.queries * (1 + group));
      EXPECT_EQ(batch.keys.size(), static_cast<size_t>(batch.tokens().texts()));
      texts += batch.tokens().texts();
    }
    EXPECT_EQ(texts, 3 * (1 + group));
    collator.collate(rows, {.rows = std::span(ids).first(1)}, batch);
    EXPECT_EQ(collator.tokens(rows, first, 0), static_cast<int64_t>(batch.ids.size()));
  }
  const std::vector<int64_t> both{0, 6};
  EXPECT_THROW(collator.collate(rows, {.rows = both}, batch), Error) << "the plan keeps them apart";
}

}  // namespace
}  // namespace lodestone
