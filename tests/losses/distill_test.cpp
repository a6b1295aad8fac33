// Distillation over a query's own group: hand-worked margins, tensor forms against the pure functions, exact gradients, refused data.
#include "losses/distill.h"

#include <gtest/gtest.h>

#include "losses/group_ce.h"
#include "tests/support/gradcheck.h"
#include "tests/support/scored_texts.h"

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
void expect_exact_gradient(Loss& loss, ScoredTexts texts) {
  const RankAnswer answer = evaluate_alone(loss, texts);
  const std::span<const double> gradient(answer.d_emb);
  const auto value = [&] { return evaluate_alone(loss, texts).loss; };
  expect_gradient("queries", texts.queries, gradient.first(texts.queries.size()), value, 3);
  expect_gradient("passages", texts.passages, gradient.subspan(texts.queries.size()), value, 7);
}

TEST(MarginMse, TensorFormEqualsThePureFunctionForBothSimilarities) {
  const ScoredTexts texts = random_texts(7, 3, 5);
  for (const Similarity similarity : {Similarity::dot, Similarity::cosine}) {
    MarginMse loss({.similarity = similarity});
    vector<double> unused(21);
    const double expected =
        group_margin_mse(own_scores(texts, similarity == Similarity::cosine), texts.teacher_scores, 3, 1.0 / 7, unused);
    EXPECT_NEAR(evaluate_alone(loss, texts).loss, expected, 1e-13 * expected);
    expect_exact_gradient(loss, texts);
  }
}

TEST(GroupDistillation, TensorFormEqualsThePureFunctionForBothForms) {
  const ScoredTexts texts = random_texts(7, 4, 5);
  vector<double> logits = own_scores(texts, true), unused(28);
  for (double& z : logits) z /= 0.2;
  const Teacher teacher{.scores = texts.teacher_scores, .temperature = 0.5};
  GroupDistillation divergence({.temperature = 0.2, .teacher_temperature = 0.5});
  GroupDistillation soft({.temperature = 0.2, .teacher_temperature = 0.5, .form = DistillationForm::soft_cross_entropy});
  const RankAnswer kl = evaluate_alone(divergence, texts), ce = evaluate_alone(soft, texts);
  EXPECT_NEAR(kl.loss, group_kl_divergence(logits, teacher, 4, 1.0 / 7, unused), 1e-13);
  EXPECT_NEAR(ce.loss, group_soft_cross_entropy(logits, teacher, 4, 1.0 / 7, unused), 1e-13);
  EXPECT_GT(ce.loss, kl.loss);
  EXPECT_EQ(ce.d_emb, kl.d_emb);
  expect_exact_gradient(divergence, texts);
}

TEST(GroupDistillation, WeightScalesValueAndGradient) {
  const ScoredTexts texts = random_texts(5, 3, 4);
  GroupDistillation distillation({.temperature = 0.1});
  MarginMse margins({});
  for (Loss* loss : {static_cast<Loss*>(&distillation), static_cast<Loss*>(&margins)}) {
    const RankAnswer once = evaluate_alone(*loss, texts), quarter = evaluate_alone(*loss, texts, DType::f64, 0.25);
    EXPECT_NEAR(quarter.loss, once.loss / 4, 1e-14);
    for (size_t i = 0; i < once.d_emb.size(); ++i) EXPECT_NEAR(quarter.d_emb[i], once.d_emb[i] / 4, 1e-14);
  }
}

TEST(GroupDistillation, SinglePrecisionFollowsDouble) {
  const ScoredTexts texts = random_texts(40, 4, 16);
  GroupDistillation distillation({.temperature = 0.05});
  MarginMse margins({});
  for (Loss* loss : {static_cast<Loss*>(&distillation), static_cast<Loss*>(&margins)}) {
    const RankAnswer wide = evaluate_alone(*loss, texts), narrow = evaluate_alone(*loss, texts, DType::f32);
    // A unit vector carries 6e-8; the temperature makes that 4e-6 of a logit. Dot products of 16 terms of order 1: 1e-6.
    EXPECT_NEAR(narrow.loss, wide.loss, 4e-6 * wide.loss);
    for (size_t i = 0; i < wide.d_emb.size(); ++i) EXPECT_NEAR(narrow.d_emb[i], wide.d_emb[i], 1e-5);
  }
}

std::string refusal(Loss& loss, int64_t group, EditPairs edit) {
  const auto self = make_self_comm();
  try {
    evaluate(loss, random_texts(3, group, 4), *self, DType::f64, 1, edit);
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
  const EditPairs without_teacher = [](Pairs& pairs) { pairs.teacher_scores = {}; };
  EXPECT_EQ(refusal(distillation, 2, without_teacher), "distillation needs a teacher score for each of 6 passages, the rows give 0");
  EXPECT_EQ(refusal(margins, 2, without_teacher), "margin mse needs a teacher score for each of 6 passages, the rows give 0");
  EXPECT_EQ(refusal(margins, 1, as_they_are), "margin mse compares a positive with negatives, the rows have none");
  static const vector<double> broken{0, 1, 2, INFINITY, 4, 5};
  EXPECT_EQ(refusal(distillation, 2, [](Pairs& pairs) { pairs.teacher_scores = broken; }), "a teacher score is inf");
}

}  // namespace
}  // namespace lodestone::test
