// Does the probe of mining come to every row, and does it see of a row what training sees?
#include "launch/mining/probe.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/step_texts.h"
#include "losses/negative_scores.h"
#include "tests/data/batches/fake_rows.h"
#include "tests/support/tiny_model.h"

namespace lodestone {
namespace {

/// Rows of three sources with 12 negatives each, whose ids fit the vocabulary of tiny_embedder().
test::FakeRows rows_of_three_sources(int n) {
  std::vector<test::FakeRow> rows = test::make_rows(n, 1, 12);
  const auto shrink = [](std::vector<int32_t>& ids) {
    for (int32_t& id : ids) id = 2 + id / 7 % 11;
    ids.resize(std::min<size_t>(ids.size(), 7));
  };
  for (size_t r = 0; r < rows.size(); ++r) {
    rows[r].source = static_cast<int32_t>(r % 3);
    if (r % 3 == 1) rows[r].teacher_scores.assign(13, 0.5);  // as one source may have and another not
    shrink(rows[r].query);
    for (auto* texts : {&rows[r].positives, &rows[r].negatives})
      for (auto& ids : *texts) shrink(ids);
  }
  return test::FakeRows(rows);
}

TEST(ProbeSequence, ComesToEveryRowOfThePlanOnceACycle) {
  const test::FakeRows rows = rows_of_three_sources(60);
  const Plan plan({.global_batch = 5, .batches = 8, .seed = 3, .only = {"s0", "s2"}, .rules = {{.match = "s2", .max_rows = 12}}},
                  plan_sources(rows.sources()));
  const ProbeSequence sequence(plan, rows);
  const std::vector<int64_t> first = sequence.rows(0, 32), second = sequence.rows(32, 32);
  const std::set<int64_t> seen(first.begin(), first.end());
  EXPECT_EQ(seen.size(), 32u);
  for (const int64_t row : seen) EXPECT_NE(row % 3, 1) << "a row of a source that the plan leaves out";
  EXPECT_EQ(std::count_if(seen.begin(), seen.end(), [](int64_t row) { return row % 3 == 2; }), 12);
  EXPECT_EQ(std::set<int64_t>(second.begin(), second.end()), seen);
  EXPECT_NE(second, first);
  std::vector<int64_t> pieces;
  for (int64_t at = 0; at < 64; at += 9)
    for (const int64_t row : sequence.rows(at, std::min<int64_t>(9, 64 - at))) pieces.push_back(row);
  std::vector<int64_t> both = first;
  both.insert(both.end(), second.begin(), second.end());
  EXPECT_EQ(pieces, both);
}

/// Negatives first .. first + n of every row.
struct Window final : NegativeWindows {
  explicit Window(int64_t begin) : begin(begin) {}
  int64_t first(int64_t) const override { return begin; }
  int64_t begin;
};

TEST(WeightProbe, ScoresARowAsTrainingDoesWhicheverRankItIs) {
  test::Model model(test::tiny_embedder(), DType::f64, "reference");
  const test::FakeRows rows = rows_of_three_sources(12);
  const Plan plan({.global_batch = 4, .batches = 3}, plan_sources(rows.sources()));
  const CollateConfig texts{.query_max_len = 9, .passage_max_len = 9, .seed = 5};
  const Framing framing{0, 1, {}, {}, {}};
  WeightProbe probe(model.ex, model.encoder, 30, Similarity::cosine, texts, framing, plan, rows);
  const std::vector<int64_t> ids{4, 0, 11, 7};
  const ProbedScores all = probe.score(9, ids, 3, Window(2));
  EXPECT_EQ(all.available, (std::vector<int32_t>{12, 12, 12, 12}));
  ASSERT_EQ(all.scores.size(), 12u);
  for (size_t i = 0; i < ids.size(); ++i) {
    const ProbedScores one = probe.score(9, std::span(ids).subspan(i, 1), 3, Window(2));
    for (size_t k = 0; k < 3; ++k) EXPECT_EQ(one.scores[k], all.scores[3 * i + k]);
  }

  // The same batch through the objective's own forward pass, dropout on.
  Batch batch;
  const Window window(2);
  CollateConfig config = texts;
  config.group = 4;
  config.select_negative = SelectNegative::window;
  Collator(config, framing, &window).collate(rows, {.step = 9, .rows = std::span(ids).first(1)}, batch);
  Exec ex = model.ex.at(Key(9).with("probe"));
  const Tensor emb = ex.arena.tensor(DType::f64, {5, 8});
  model.encoder.forward(ex, upload_texts(ex.backend, ex.arena, in_step(ex, batch.tokens())), emb);
  std::vector<double> expected(3);
  negative_scores(ex, emb, batch.pairs(), Similarity::cosine, expected);
  for (size_t k = 0; k < 3; ++k) EXPECT_NEAR(all.scores[k], expected[k], 1e-14);

  EXPECT_NE(probe.score(10, ids, 3, Window(2)).scores, all.scores) << "another step drops out other elements";
  EXPECT_NE(probe.score(9, ids, 3, Window(5)).scores, all.scores) << "other negatives are in use";
}

}  // namespace
}  // namespace lodestone
