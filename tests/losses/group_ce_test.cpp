// Losses of one group of scores: golden values, gradients by central differences, extreme scores, missing teachers.
#include <gtest/gtest.h>

#include <cmath>

#include "core/group_losses.h"
#include "losses/group_loss.h"
#include "tests/support/any_backend.h"
#include "tests/support/gradcheck.h"

namespace lodestone::test {
namespace {

using std::vector;

const vector<double> reranker_scores{2.0, 0.5, -1.0, 0.1, 0.4, -0.2};
const vector<double> own_logits{2.0, 1.0, 0.5, 1.5, 1.2, -0.5}, rewards{-0.5, -1.0, -3.0, -0.2, -0.9, -1.1};

TEST(GroupCrossEntropy, GoldenValuesOfTheReranker) {
  vector<double> d(6);
  EXPECT_NEAR(group_cross_entropy(reranker_scores, 3, 0.5, d), 0.6848507333, 5e-11);
  EXPECT_NEAR(group_binary_cross_entropy(reranker_scores, 3, 0.5, d), 0.5949695774, 5e-11);
}

TEST(GroupDistillation, GoldenValuesForTwoTeacherTemperatures) {
  vector<double> d(6);
  EXPECT_NEAR(group_distillation(own_logits, {.scores = rewards, .temperature = 1}, 3, Entropy::removed, 0.5, d), 0.0938874378, 5e-11);
  EXPECT_NEAR(group_distillation(own_logits, {.scores = rewards, .temperature = 0.1}, 3, Entropy::removed, 0.5, d), 0.5260523410, 5e-11);
  EXPECT_NEAR(group_distillation(own_logits, {.scores = rewards, .temperature = 1}, 3, Entropy::kept, 0.5, d), 1.0156168098, 5e-11);
  EXPECT_NEAR(group_distillation(own_logits, {.scores = rewards, .temperature = 0.1}, 3, Entropy::kept, 0.5, d), 0.5504025767, 5e-11);
}

TEST(GroupDistillation, ATeacherThatAgreesHasNoDivergenceAndNoGradient) {
  vector<double> d(6);
  EXPECT_NEAR(group_distillation(own_logits, {.scores = own_logits}, 3, Entropy::removed, 1, d), 0, 1e-15);
  for (const double v : d) EXPECT_NEAR(v, 0, 1e-15);
}

TEST(GroupLosses, GradientsAgreeWithCentralDifferencesAndAreAdded) {
  using Loss = double (*)(const vector<double>&, vector<double>&);
  const Loss losses[] = {[](const vector<double>& s, vector<double>& d) { return group_cross_entropy(s, 3, 0.7, d); },
                         [](const vector<double>& s, vector<double>& d) { return group_binary_cross_entropy(s, 3, 0.7, d); },
                         [](const vector<double>& s, vector<double>& d) {
                           return group_distillation(s, {rewards, 0.5}, 3, Entropy::kept, 0.7, d);
                         },
                         [](const vector<double>& s, vector<double>& d) {
                           return group_distillation(s, {rewards, 0.5}, 3, Entropy::removed, 0.7, d);
                         }};
  for (const Loss loss : losses) {
    vector<double> scores = own_logits, d(6, 1.0);
    loss(scores, d);
    for (double& v : d) v -= 1;
    expect_gradient("scores", scores, d, [&] {
      vector<double> unused(6);
      return loss(scores, unused);
    });
  }
}

TEST(GroupLosses, ScoresOfAThousandAreFinite) {
  const vector<double> scores{-1000, 1000, 0, 1000, -1000, 0};
  vector<double> d(6);
  EXPECT_NEAR(group_cross_entropy(scores, 3, 0.5, d), 1000, 1e-9);
  EXPECT_NEAR(group_binary_cross_entropy(scores, 3, 0.5, d), (2000 + 2 * std::log(2.0)) / 6, 1e-9);
  EXPECT_NEAR(group_distillation(scores, {.scores = rewards, .temperature = 1e-3}, 3, Entropy::removed, 0.5, d), 1000, 1e-9);
  for (const double v : d) EXPECT_TRUE(std::isfinite(v));
}

TEST(GroupLosses, SplittingTheRowsSplitsTheLoss) {
  vector<double> whole(6), parts(6);
  const double expected = group_cross_entropy(reranker_scores, 3, 0.5, whole);
  const std::span<const double> scores(reranker_scores);
  const std::span<double> d(parts);
  double sum = group_cross_entropy(scores.first(3), 3, 0.5, d.first(3));
  sum += group_cross_entropy(scores.subspan(3), 3, 0.5, d.subspan(3));
  sum += group_cross_entropy({}, 3, 0.5, {});  // a rank without rows
  EXPECT_NEAR(sum, expected, 1e-15);
  EXPECT_EQ(parts, whole);
}

/// The value of the operations' form of the two groups' loss, beside one that the total holds already.
double value_of(const GroupLossOptions& options, const vector<double>& scores, std::span<const double> teacher, double weight,
                vector<double>& d) {
  const auto backend = any_backend("reference");
  Arena arena(backend->memory(), size_t{1} << 20);
  Exec ex{*backend, arena, Key{}, DType::f64};
  const auto scope = arena.scope();
  const std::vector<double> two{2};
  const Tensor x = tensor_of(*backend, arena, scores, {2, 3}), dx = tensor_of(*backend, arena, d, {2, 3}),
               total = tensor_of(*backend, arena, two, {1});
  group_loss(ex, options, x, teacher, weight, dx, total);
  d = to_double(*backend, arena, dx);
  return to_double(*backend, arena, total)[0] - 2;
}

TEST(GroupLoss, DistillationIsAddedToTheTargetAndGradientsAreSet) {
  for (const GroupTarget target : {GroupTarget::cross_entropy, GroupTarget::binary}) {
    vector<double> expected(6), d(6, 7.0);
    double value = target == GroupTarget::binary ? group_binary_cross_entropy(own_logits, 3, 0.5, expected)
                                                 : group_cross_entropy(own_logits, 3, 0.5, expected);
    EXPECT_NEAR(value_of({.target = target}, own_logits, {}, 0.5, d), value, 1e-15);
    EXPECT_EQ(d, expected);
    value += group_distillation(own_logits, {rewards, 0.1}, 3, Entropy::kept, 0.5 * 0.3, expected);
    const GroupLossOptions options{.target = target, .distillation_weight = 0.3, .teacher_temperature = 0.1};
    EXPECT_NEAR(value_of(options, own_logits, rewards, 0.5, d), value, 1e-15);
    EXPECT_EQ(d, expected);
  }
}

TEST(GroupLoss, DistillationWithoutTeacherScoresIsAnErrorInTheData) {
  vector<double> d(6);
  try {
    value_of({.distillation_weight = 1}, own_logits, {}, 0.5, d);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::data);
    EXPECT_NE(std::string(error.what()).find("teacher score"), std::string::npos);
    EXPECT_FALSE(error.remedy().empty());
  }
}

}  // namespace
}  // namespace lodestone::test
