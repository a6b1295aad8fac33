// Are pairs cut as the rule says, and the same pairs whatever the number of ranks?
#include "data/batches/pair_collate.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/data/batches/fake_rows.h"

namespace lodestone {
namespace {

using test::FakeRow;
using test::FakeRows;
using test::make_rows;

constexpr int32_t cls = 101, sep = 102;
const Framing plain{cls, sep, {}, {}, {}};

std::vector<int32_t> counted(int64_t n, int32_t from) {
  std::vector<int32_t> ids(static_cast<size_t>(n));
  std::iota(ids.begin(), ids.end(), from);
  return ids;
}

Batch collate(const RerankCollateConfig& config, const Framing& framing, const RowSource& rows, const BatchRows& which) {
  Batch batch;
  RerankCollator(config, framing).collate(rows, which, batch);
  return batch;
}

std::vector<int32_t> pair(const Batch& batch, int64_t b) {
  const auto at = [&](int64_t i) { return batch.ids.begin() + batch.offsets[static_cast<size_t>(i)]; };
  return {at(b), at(b + 1)};
}

// The query may have q + p/4 tokens and the passage p + q/2 (rounded down); of a pair that is too long only the passage is cut.
TEST(PairTruncation, FollowsTheTableOfTheRule) {
  struct Case {
    PairLengths lengths;
    int64_t query = 0, passage = 0;  // tokens given
    int64_t kept_query = 0, kept_passage = 0;
  };
  const Case cases[] = {
      {{.query = 256, .passage = 256}, 10, 20, 10, 20},      // short texts stay whole
      {{.query = 256, .passage = 256}, 10, 600, 10, 384},    // the passage borrows half of the query's share
      {{.query = 256, .passage = 256}, 200, 600, 200, 309},  // 512 - 3 - 200
      {{.query = 256, .passage = 256}, 400, 20, 320, 20},    // the query borrows a quarter of the passage's
      {{.query = 256, .passage = 256}, 400, 600, 320, 189},  // the query is never cut for the passage's sake
      {{.query = 64, .passage = 448}, 10, 600, 10, 480},
      {{.query = 64, .passage = 448}, 500, 600, 176, 333},
      {{.query = 7, .passage = 9}, 30, 30, 9, 4},  // 7 + 2 and 16 - 3 - 9
      {{.query = 7, .passage = 9}, 2, 30, 2, 11},  // 9 + 3 would be 12, but 16 - 3 - 2
      {{.query = 256, .passage = 256, .pair = 400}, 320, 600, 320, 77},
      {{.query = 256, .passage = 256, .pair = 900}, 400, 900, 320, 384},  // room left: the limits of the texts hold
  };
  for (const Case& c : cases) {
    std::vector<int32_t> ids;
    const std::vector<int32_t> query = counted(c.query, 1000), passage = counted(c.passage, 5000);
    const int64_t second = append_pair(cls, sep, query, passage, c.lengths, ids);
    std::vector<int32_t> expected{cls};
    expected.insert(expected.end(), query.begin(), query.begin() + c.kept_query);
    expected.push_back(sep);
    expected.insert(expected.end(), passage.begin(), passage.begin() + c.kept_passage);
    expected.push_back(sep);
    EXPECT_EQ(ids, expected) << c.lengths.query << "+" << c.lengths.passage << ": " << c.query << ", " << c.passage;
    EXPECT_EQ(second, c.kept_query + 2);
    EXPECT_LE(static_cast<int64_t>(ids.size()), c.lengths.longest_pair());
  }
}

TEST(PairTruncation, RefusesLengthsWithoutRoomForAPassage) {
  EXPECT_NO_THROW(require_room({.query = 256, .passage = 256}, 0, 0));
  EXPECT_NO_THROW(require_room({.query = 256, .passage = 256, .pair = 324}, 0, 0));
  EXPECT_THROW(require_room({.query = 256, .passage = 256, .pair = 323}, 0, 0), Error);
  EXPECT_THROW(require_room({.query = 256, .passage = 256, .pair = 324}, 0, 1), Error);
  EXPECT_THROW(require_room({.query = 10, .passage = 4}, 0, 0), Error);
  EXPECT_THROW(require_room({.query = 4, .passage = 40}, 14, 0), Error);  // the prompt takes the whole query
  EXPECT_THROW(require_room({.query = 0, .passage = 40}, 0, 0), Error);
  EXPECT_THROW(RerankCollator({.texts = {.query_max_len = 4, .passage_max_len = 40}}, {cls, sep, counted(14, 1), {}, {}}), Error);
  EXPECT_THROW(RerankCollator({.texts = {.group = 0}}, plain), Error);
}

TEST(RerankCollate, PairsAreQueryMajorWithThePositiveFirst) {
  const FakeRows rows(
      {{.query = {1, 2}, .positives = {{10}}, .negatives = {{20, 21}}}, {.query = {3}, .positives = {{11, 12}}, .negatives = {{22}}}});
  const std::vector<int64_t> ids = {1, 0};
  const Batch batch = collate({.texts = {.group = 2}}, plain, rows, {.source = 4, .rows = ids});
  EXPECT_EQ(batch.ids,
            (std::vector<int32_t>{cls, 3, sep, 11, 12, sep, cls, 3, sep, 22, sep, cls, 1, 2, sep, 10, sep, cls, 1, 2, sep, 20, 21, sep}));
  EXPECT_EQ(batch.offsets, (std::vector<int64_t>{0, 6, 11, 17, 24}));
  EXPECT_EQ(batch.second, (std::vector<int64_t>{3, 3, 4, 4}));
  EXPECT_EQ(batch.keys, (std::vector<uint64_t>{text_key(1, Role::positive, 0, 0), text_key(1, Role::negative, 0, 0),
                                               text_key(0, Role::positive, 0, 1), text_key(0, Role::negative, 0, 1)}));
  EXPECT_EQ(batch.passage_hash[1], FakeRows::hash({22}));
  EXPECT_EQ(batch.rows, ids);
  EXPECT_EQ(batch.source, 4);
  EXPECT_EQ(batch.global_queries, 2);
  EXPECT_EQ(batch.tokens().first_length(3), 4);
}

TEST(RerankCollate, PromptsStandInFrontOfBothTextsAndCountAsTheirs) {
  const FakeRows rows({{.query = {1, 2, 3, 4}, .positives = {{10, 11, 12, 13, 14}}, .prompt = 0}}, {"x"});
  const std::vector<int64_t> ids = {0};
  const Framing framing{cls, sep, {7}, {9}, {{55, 56}}};
  EXPECT_EQ(pair(collate({.texts = {.query_max_len = 3, .passage_max_len = 8}}, framing, rows, {.rows = ids}), 0),
            (std::vector<int32_t>{cls, 55, 56, 1, 2, 3, sep, 9, 10, 11, sep}));  // 3 + 8/4 = 5 and 11 - 3 - 5 = 3
}

TEST(RerankCollate, TeacherScoresFollowTheDrawnPassages) {
  std::vector<FakeRow> made = make_rows(1, 2, 3);
  made[0].teacher_scores = {1, 2, 3, 4, 5};  // of text 1 to 5
  const FakeRows rows(made);
  const std::vector<int64_t> ids = {0};
  for (int64_t step = 0; step < 20; ++step) {
    const Batch batch = collate({.texts = {.group = 3}}, plain, rows, {.step = step, .rows = ids});
    for (int64_t g = 0; g < 3; ++g) {
      const int32_t first = pair(batch, g)[static_cast<size_t>(batch.second[static_cast<size_t>(g)])];
      EXPECT_EQ(batch.teacher_scores[static_cast<size_t>(g)], first / 20);
    }
  }
}

TEST(RerankCollate, RanksPutTogetherGiveTheBatchOfAWorldOfOne) {
  const FakeRows rows(make_rows(40, 3, 2));
  const RerankCollateConfig config{.texts = {.group = 4, .query_max_len = 4, .passage_max_len = 8, .seed = 12}};
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < 7; ++i) ids.push_back((i * 13 + 5) % 40);
  const Batch whole = collate(config, plain, rows, {.step = 6, .rows = ids});
  for (int world = 1; world <= 5; ++world) {
    Batch joined;
    const auto append = [](auto& to, const auto& from) { to.insert(to.end(), from.begin(), from.end()); };
    for (int rank = 0; rank < world; ++rank) {
      const Batch part = collate(config, plain, rows, {.step = 6, .rows = ids, .rank = rank, .world = world});
      EXPECT_EQ(part.global_queries, 7);
      ASSERT_EQ(part.tokens().texts(), part.queries * 4);
      append(joined.ids, part.ids);
      append(joined.keys, part.keys);
      append(joined.second, part.second);
      append(joined.passage_hash, part.passage_hash);
    }
    EXPECT_EQ(joined.ids, whole.ids) << world;
    EXPECT_EQ(joined.keys, whole.keys) << world;
    EXPECT_EQ(joined.second, whole.second) << world;
    EXPECT_EQ(joined.passage_hash, whole.passage_hash) << world;
  }
}

TEST(RerankCollate, EvaluationBatchesHaveNoKeysAndTokensAreThoseOfAllPairs) {
  const FakeRows rows(make_rows(3, 1, 2));
  RerankCollateConfig config{.texts = {.group = 3, .purpose = Purpose::evaluation}};
  const std::vector<int64_t> ids = {2};
  const Batch batch = collate(config, plain, rows, {.step = 5, .rows = ids});
  EXPECT_TRUE(batch.keys.empty());
  EXPECT_EQ(RerankCollator(config, plain).tokens(rows, 2, 5), batch.offsets.back());
}

TEST(RerankCollate, AReservedBatchIsFilledInPlace) {
  const FakeRows rows(make_rows(40, 3, 2));
  RerankCollator collator({.texts = {.group = 4, .query_max_len = 8, .passage_max_len = 16}}, plain);
  Batch out;
  collator.reserve(5, 2, out);
  const int32_t* ids = out.ids.data();
  const int64_t* second = out.second.data();
  for (int64_t step = 0; step < 10; ++step) {
    std::vector<int64_t> chosen;
    for (int64_t i = 0; i < 10; ++i) chosen.push_back((i * 7 + step) % 40);
    collator.collate(rows, {.step = step, .rows = chosen, .rank = 1, .world = 2}, out);
    ASSERT_EQ(out.ids.data(), ids);
    ASSERT_EQ(out.second.data(), second);
  }
}

}  // namespace
}  // namespace lodestone
