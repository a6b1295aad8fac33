// Distillation over a query's own group: hand-worked margins, tensor forms against pure functions, exact gradients, refused data.
#include "losses/distill.h"

#include <gtest/gtest.h>

#include "core/group_losses.h"
#include "launch/console/allocations.h"
#include "losses/cosines.h"
#include "tests/support/evaluate.h"
#include "tests/support/gradcheck.h"
#include "tests/support/loss_problem.h"
#include "tests/support/loss_rounding.h"

namespace lodestone::test {
namespace {

using std::vector;

TEST(MarginMse, HandWorkedMargins) {
  const vector<double> scores{3, 1, 2, 5, 6, 4}, teacher{10, 9, 7, 0, -1, 4};
  // Student margins 2 1 | -1 1, teacher margins 1 3 | 1 -4: differences 1 -2 | -2 5.
  vector<double> d(6);
  EXPECT_NEAR(group_margin_mse(scores, teacher, 3, 0.5, d), (1 + 4 + 4 + 25) / 4.0, 1e-15);
  const vector<double> expected{-0.5, -0.5, 1, 1.5, 1, -2.5};  // 2 * difference / 4, for the positive and against the negative
  for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(d[i], expected[i], 1e-15);
}

TEST(MarginMse, AddsGradientsThatAgreeWithCentralDifferences) {
  vector<double> scores{3, 1, 2, 5, 6, 4}, d(6, 1.0);
  const vector<double> teacher{10, 9, 7, 0, -1, 4};
  group_margin_mse(scores, teacher, 3, 0.3, d);
  for (double& v : d) v -= 1;
  expect_gradient("scores", scores, d, [&] {
    vector<double> unused(6);
    return group_margin_mse(scores, teacher, 3, 0.3, unused);
  });
}

/// The loss's gradient against central differences of its own value in the raw vectors.
void expect_exact_gradient(Loss& loss, LossProblem problem) {
  const LossAnswer exact = answer_alone(loss, problem);
  const auto value = [&] { return answer_alone(loss, problem).loss; };
  expect_gradient("queries", problem.queries, exact.d_queries, value, 3);
  expect_gradient("passages", problem.passages, exact.d_passages, value, 7);
}

/// [N*G] of every query with its own passages.
vector<double> own_cosines(const LossProblem& problem) {
  const Cosines all(problem.queries, problem.passages, problem.width, problem.width);
  vector<double> out;
  for (size_t j = 0; j < problem.teacher_scores.size(); ++j) out.push_back(all({j / static_cast<size_t>(problem.group), all.passage(j)}));
  return out;
}
vector<double> own_dot_products(const LossProblem& problem) {
  const auto width = static_cast<size_t>(problem.width);
  vector<double> out(problem.teacher_scores.size());
  for (size_t j = 0; j < out.size(); ++j)
    for (size_t e = 0; e < width; ++e)
      out[j] += problem.queries[j / static_cast<size_t>(problem.group) * width + e] * problem.passages[j * width + e];
  return out;
}

TEST(MarginMse, TensorFormEqualsThePureFunctionForBothSimilarities) {
  const LossProblem problem(7, 3, 5);
  for (const Similarity similarity : {Similarity::dot, Similarity::cosine}) {
    MarginMse loss({.similarity = similarity});
    vector<double> unused(21);
    const double expected = group_margin_mse(similarity == Similarity::cosine ? own_cosines(problem) : own_dot_products(problem),
                                             problem.teacher_scores, 3, 1.0 / 7, unused);
    EXPECT_NEAR(answer_alone(loss, problem).loss, expected, 1e-13 * expected);
    expect_exact_gradient(loss, problem);
  }
}

TEST(GroupDistillation, TensorFormEqualsThePureFunctionForBothForms) {
  const LossProblem problem(7, 4, 5);
  vector<double> logits = own_cosines(problem), unused(28);
  for (double& z : logits) z /= 0.2;
  const Teacher teacher{.scores = problem.teacher_scores, .temperature = 0.5};
  GroupDistillation divergence({.temperature = 0.2, .teacher_temperature = 0.5});
  GroupDistillation soft({.temperature = 0.2, .teacher_temperature = 0.5, .form = DistillationForm::soft_cross_entropy});
  const LossAnswer kl = answer_alone(divergence, problem), ce = answer_alone(soft, problem);
  EXPECT_NEAR(kl.loss, group_distillation(logits, teacher, 4, Entropy::removed, 1.0 / 7, unused), 1e-13);
  EXPECT_NEAR(ce.loss, group_distillation(logits, teacher, 4, Entropy::kept, 1.0 / 7, unused), 1e-13);
  EXPECT_GT(ce.loss, kl.loss);
  EXPECT_EQ(gradient_difference(ce, kl), 0);
  expect_exact_gradient(divergence, problem);
}

TEST(GroupDistillation, WeightScalesValueAndGradient) {
  const LossProblem problem(5, 3, 4);
  GroupDistillation distillation({.temperature = 0.1});
  MarginMse margins({});
  for (Loss* loss : {static_cast<Loss*>(&distillation), static_cast<Loss*>(&margins)}) {
    LossAnswer whole = answer_alone(*loss, problem);
    const LossAnswer quarter = answer_alone(*loss, problem, DType::f64, "reference", 0.25);
    EXPECT_NEAR(quarter.loss, whole.loss / 4, 1e-14);
    for (double& v : whole.d_queries) v /= 4;
    for (double& v : whole.d_passages) v /= 4;
    EXPECT_LT(gradient_difference(quarter, whole), 1e-14);
  }
}

TEST(GroupDistillation, SinglePrecisionFollowsDouble) {
  const LossProblem problem(40, 4, 16);
  GroupDistillation distillation({.temperature = 0.05});
  MarginMse margins({});
  expect_rounded(answer_alone(distillation, problem, DType::f32, "cpu"), rounded_answer(distillation, problem, {.own = DType::f64}),
                 "distillation");
  // Dot products of vectors as they are: rounded are the vectors, a product, its gradient and that times a vector.
  expect_rounded(answer_alone(margins, problem, DType::f32, "cpu"),
                 rounded_answer(margins, problem, {.own = DType::f64, .forward = 2, .both = 4}), "margins");
}

TEST(GroupDistillation, AllocatesNothing) {
  const auto backend = make_backend({.kind = BackendKind::cpu});
  const auto self = make_self_comm();
  Arena arena(backend->memory(), size_t{1} << 28);
  Exec ex{*backend, arena, Key{}, DType::f32};
  const LossProblem problem(20, 4, 8);
  vector<float> emb(problem.queries.begin(), problem.queries.end()), d_emb(20 * 5 * 8);
  emb.insert(emb.end(), problem.passages.begin(), problem.passages.end());
  const vector<int64_t> rank_queries{20};
  Pairs pairs;
  pairs.queries = pairs.global_queries = 20;
  pairs.group = 4;
  pairs.rank_queries = rank_queries;
  pairs.teacher_scores = problem.teacher_scores;
  GroupDistillation distillation({.temperature = 0.1});
  MarginMse margins({});
  const Tensor x = view(std::span(emb)).reshape({100, 8}), dx = view(std::span(d_emb)).reshape({100, 8});
  for (Loss* loss : {static_cast<Loss*>(&distillation), static_cast<Loss*>(&margins)}) {
    evaluate(*loss, ex, *self, x, pairs, 1, dx);
    const uint64_t before = heap_allocations();
    evaluate(*loss, ex, *self, x, pairs, 1, dx);
    EXPECT_EQ(heap_allocations(), before);
  }
}

std::string refusal(Loss& loss, const LossProblem& problem) {
  try {
    answer_alone(loss, problem);
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::data);
    EXPECT_FALSE(error.remedy().empty());
    return error.what();
  }
  return "accepted";
}

TEST(GroupDistillation, RowsWithoutTeacherScoresOrNegativesAreErrorsInTheData) {
  GroupDistillation distillation({});
  MarginMse margins({});
  LossProblem problem(3, 2, 4);
  problem.teacher_scores[3] = INFINITY;
  EXPECT_EQ(refusal(distillation, problem), "a teacher score is inf");
  problem.teacher_scores = {};
  EXPECT_EQ(refusal(distillation, problem), "distillation needs a teacher score for each of 6 passages, the rows give 0");
  EXPECT_EQ(refusal(margins, problem), "margin mse needs a teacher score for each of 6 passages, the rows give 0");
  EXPECT_EQ(refusal(margins, LossProblem(3, 1, 4)), "margin mse compares a positive with negatives, the rows have none");
}

TEST(GroupDistillation, RefusesImpossibleSettings) {
  EXPECT_THROW(GroupDistillation({.temperature = 0}), Error);
  EXPECT_THROW(GroupDistillation({.teacher_temperature = -1}), Error);
}

}  // namespace
}  // namespace lodestone::test
