// What holds for every contrastive loss on one rank: exact gradients, linear weights, tiles that change nothing, bounded memory.
#include <gtest/gtest.h>

#include "launch/console/allocations.h"
#include "tests/losses/contrastive_cases.h"
#include "tests/support/evaluate.h"
#include "tests/support/gradcheck.h"
#include "tests/support/loss_problem.h"
#include "tests/support/loss_rounding.h"

namespace lodestone::test {
namespace {

TEST(ContrastiveLosses, GradientsAgreeWithCentralDifferences) {
  for (const ContrastiveCase& c : contrastive_cases()) {
    SCOPED_TRACE(c.name);
    LossProblem problem(5, 3, 5);
    problem.plant_duplicates();
    const auto loss = c.make();
    const LossAnswer exact = answer_alone(*loss, problem);
    const auto value = [&] { return answer_alone(*loss, problem).loss; };
    expect_gradient("queries", problem.queries, exact.d_queries, value);
    expect_gradient("passages", problem.passages, exact.d_passages, value);
  }
}

TEST(ContrastiveLosses, WeightScalesValueAndGradient) {
  for (const ContrastiveCase& c : contrastive_cases()) {
    const LossProblem problem(4, 2, 5);
    const auto loss = c.make();
    LossAnswer whole = answer_alone(*loss, problem);
    const LossAnswer quarter = answer_alone(*loss, problem, DType::f64, "reference", 0.25);
    EXPECT_NEAR(quarter.loss, whole.loss / 4, 1e-15) << c.name;
    for (double& v : whole.d_queries) v /= 4;
    for (double& v : whole.d_passages) v /= 4;
    EXPECT_LT(gradient_difference(quarter, whole), 1e-15) << c.name;
  }
}

// What 2^20 and 2^25 scores are to 65,536 pairs: tiles of 64 rows and a tile of several times as many, here both with fewer rows in the
// last.
TEST(ContrastiveLosses, AreTheSameInTilesOfAnySize) {
  LossProblem problem(130, 2, 5);
  problem.plant_duplicates();
  const std::vector<ContrastiveCase> whole = contrastive_cases(int64_t{1} << 25), least = contrastive_cases(),
                                     larger = contrastive_cases(int64_t{100} * 260);  // 260 is the width of most
  for (size_t i = 0; i < whole.size(); ++i) {
    const RoundedAnswer rounded = rounded_answer(*whole[i].make(), problem);
    const LossAnswer& expected = rounded.exact;
    for (const ContrastiveCase* tiled : {&least[i], &larger[i]}) {
      const LossAnswer got = answer_alone(*tiled->make(), problem);
      // Rows' losses are added up, and a column's gradient over rows, in another order: 130 numbers, of order 1 all together.
      EXPECT_NEAR(got.loss, expected.loss, 1e-13) << tiled->name;
      EXPECT_LT(gradient_difference(got, expected), 1e-14) << tiled->name;
      EXPECT_EQ(got.masked, expected.masked) << tiled->name;
      expect_rounded(answer_alone(*tiled->make(), problem, DType::f32, "cpu"), rounded, tiled->name);
    }
  }
}

TEST(ContrastiveLosses, AllocateNothingOnceWarm) {
  for (const ContrastiveCase& c : contrastive_cases()) {
    const auto backend = make_backend({.kind = BackendKind::cpu});
    const auto self = make_self_comm();
    Arena arena(backend->memory(), size_t{1} << 28);
    Exec ex{*backend, arena, Key{}, DType::f32};
    LossProblem problem(70, 3, 8);
    problem.plant_duplicates();
    const std::vector<int64_t> rank_queries{problem.n};
    Pairs pairs;
    pairs.queries = pairs.global_queries = problem.n;
    pairs.group = problem.group;
    pairs.rank_queries = rank_queries;
    pairs.query_hash = problem.query_hash;
    pairs.passage_hash = problem.passage_hash;
    pairs.passage_document = problem.passage_document;
    pairs.teacher_scores = problem.teacher_scores;
    std::vector<float> emb(problem.queries.begin(), problem.queries.end()), d_emb;
    emb.insert(emb.end(), problem.passages.begin(), problem.passages.end());
    d_emb.resize(emb.size());
    const Shape shape{problem.n * (1 + problem.group), problem.width};
    const Tensor x = view(std::span(emb)).reshape(shape), dx = view(std::span(d_emb)).reshape(shape);
    const auto loss = c.make();
    evaluate(*loss, ex, *self, x, pairs, 1, dx);
    const uint64_t before = heap_allocations();
    evaluate(*loss, ex, *self, x, pairs, 1, dx);
    EXPECT_EQ(heap_allocations(), before) << c.name;
  }
}

TEST(ContrastiveLosses, HoldOneTileOfScoresHoweverLargeTheBatch) {
  for (const ContrastiveCase& c : contrastive_cases()) {
    const auto peak = [&](int64_t n) { return static_cast<double>(answer_alone(*c.make(), LossProblem(n, 2, 5), DType::f32).taken_bytes); };
    // Vectors, norms, hashes and a tile of 64 rows grow with N; all scores would grow with its square, sixteen times.
    EXPECT_LT(peak(1024), 4.2 * peak(256)) << c.name;
  }
}

}  // namespace
}  // namespace lodestone::test
