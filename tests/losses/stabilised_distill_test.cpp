// Stabilised distillation: golden values, limits, both orders, agreement with masking column by column, exact gradients.
#include "losses/stabilised_distill.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "losses/cosines.h"
#include "tests/support/gradcheck.h"
#include "tests/support/loss_problem.h"
#include "tests/support/loss_rounding.h"

namespace lodestone::test {
namespace {

using std::vector;

const vector<double> golden_logits{2.0, 1.0, 0.5, 0.2, -0.3, 0.1, 0.0, 0.4, -0.2, 1.5, 1.2, -0.5};
const vector<double> golden_rewards{-0.5, -1.0, -3.0, -0.2, -0.9, -1.1};

struct Answer {
  double loss;
  vector<double> d_logits, terms;
};
Answer pure(const vector<double>& logits, const vector<double>& rewards, int64_t group, double teacher_temperature = 1,
            RewardOrder order = RewardOrder::full_sort) {
  Answer answer{0, vector<double>(logits.size(), 4.0), vector<double>(static_cast<size_t>(group), 4.0)};
  answer.loss = stabilised_distillation(
      {.logits = logits, .rewards = rewards, .group = group, .teacher_temperature = teacher_temperature, .order = order}, answer.d_logits,
      answer.terms);
  return answer;
}

/// The procedure as the released code has it: one cross-entropy for each place in the order, over the whole row, after which the
/// candidate's column is taken out of the row.
double column_by_column(vector<double> logits, const vector<double>& rewards, int64_t group, double teacher_temperature,
                        RewardOrder order) {
  const auto g = static_cast<size_t>(group), n = rewards.size() / g, columns = n * g;
  const double alpha = order == RewardOrder::released_code ? 1 : teacher_temperature;
  double loss = 0;
  for (size_t i = 0; i < n; ++i) {
    vector<size_t> places(g);
    std::iota(places.begin(), places.end(), size_t{0});
    std::stable_sort(places.begin() + (order == RewardOrder::released_code ? 1 : 0), places.end(),
                     [&](size_t a, size_t b) { return rewards[i * g + a] > rewards[i * g + b]; });
    double weights = 0;
    for (size_t k = 0; k < g; ++k) weights += std::exp(rewards[i * g + k] / alpha);
    for (const size_t place : places) {
      double* z = logits.data() + i * columns;
      const size_t target = i * g + place;
      double sum = 0;
      for (size_t j = 0; j < columns; ++j) sum += std::exp(z[j]);
      loss += std::exp(rewards[target] / alpha) / weights * (std::log(sum) - z[target]);
      z[target] = -std::numeric_limits<double>::infinity();
    }
  }
  return loss / static_cast<double>(n);
}

TEST(StabilisedDistillation, GoldenValuesAndTheirParts) {
  const Answer mild = pure(golden_logits, golden_rewards, 3, 1), sharp = pure(golden_logits, golden_rewards, 3, 0.1);
  EXPECT_NEAR(mild.loss, 0.9658225724, 5e-11);
  EXPECT_NEAR(sharp.loss, 0.8297162865, 5e-11);
  const vector<double> mild_terms{0.4586769245, 0.2823545285, 0.2247911193}, sharp_terms{0.8258794905, 0.0037218139, 0.0001149821};
  for (size_t k = 0; k < 3; ++k) {
    EXPECT_NEAR(mild.terms[k], mild_terms[k], 5e-11);
    EXPECT_NEAR(sharp.terms[k], sharp_terms[k], 5e-11);
  }
}

TEST(StabilisedDistillation, OneDominatingRewardIsTheContrastiveLoss) {
  EXPECT_NEAR(pure(golden_logits, {0, -2000, -3000, 0, -2000, -2500}, 3).loss, 0.8287063547, 5e-11);
  EXPECT_NEAR(pure(golden_logits, golden_rewards, 3, 1e-4).loss, 0.8287063547, 5e-11);
}

TEST(StabilisedDistillation, ReleasedCodeKeepsTheFirstCandidateFirstAndIgnoresTheTeacherTemperature) {
  // The golden rewards stand in falling order, so that the two orders agree; the temperature is taken as 1.
  EXPECT_NEAR(pure(golden_logits, golden_rewards, 3, 0.1, RewardOrder::released_code).loss, 0.9658225724, 5e-11);
  const vector<double> rewards{-3.0, -1.0, -0.5, -1.1, -0.9, -0.2};  // the first is the worst
  const Answer released = pure(golden_logits, rewards, 3, 0.1, RewardOrder::released_code);
  EXPECT_NEAR(released.loss, column_by_column(golden_logits, rewards, 3, 0.1, RewardOrder::released_code), 1e-14);
  EXPECT_GT(std::abs(released.loss - pure(golden_logits, rewards, 3, 1).loss), 1e-2);
}

TEST(StabilisedDistillation, EqualsTheColumnByColumnProcedure) {
  std::mt19937 random(5);
  std::normal_distribution<double> normal;
  for (const auto& [n, group] : {std::pair<size_t, size_t>{1, 1}, {1, 4}, {6, 1}, {9, 8}}) {
    vector<double> logits(n * n * group), rewards(n * group);
    for (double& z : logits) z = 4 * normal(random);
    for (double& r : rewards) r = std::round(2 * normal(random)) / 2;  // ties
    for (const RewardOrder order : {RewardOrder::full_sort, RewardOrder::released_code}) {
      const double expected = column_by_column(logits, rewards, static_cast<int64_t>(group), 0.5, order);
      EXPECT_NEAR(pure(logits, rewards, static_cast<int64_t>(group), 0.5, order).loss, expected, 1e-13 * std::max(expected, 1.0));
    }
  }
}

TEST(StabilisedDistillation, GradientAgreesWithCentralDifferences) {
  vector<double> logits = golden_logits;
  for (const RewardOrder order : {RewardOrder::full_sort, RewardOrder::released_code}) {
    const vector<double> rewards{-1.0, -0.5, -1.0, -1.1, -0.2, -0.9};  // a tie, and a first candidate that is not the best
    expect_gradient("logits", logits, pure(logits, rewards, 3, 0.5, order).d_logits,
                    [&] { return pure(logits, rewards, 3, 0.5, order).loss; });
  }
}

TEST(StabilisedDistillation, FullSortDoesNotDependOnTheOrderOfCandidates) {
  const vector<size_t> moved{2, 0, 1};  // of candidates, in both groups
  vector<double> logits = golden_logits, rewards = golden_rewards;
  const auto from = [&](size_t column) { return column / 3 * 3 + moved[column % 3]; };
  for (size_t i = 0; i < 2; ++i)
    for (size_t j = 0; j < 6; ++j) logits[6 * i + j] = golden_logits[6 * i + from(j)];
  for (size_t j = 0; j < 6; ++j) rewards[j] = golden_rewards[from(j)];
  const Answer before = pure(golden_logits, golden_rewards, 3), after = pure(logits, rewards, 3);
  EXPECT_NEAR(after.loss, before.loss, 1e-15);
  for (size_t i = 0; i < 2; ++i)
    for (size_t j = 0; j < 6; ++j) EXPECT_NEAR(after.d_logits[6 * i + j], before.d_logits[6 * i + from(j)], 1e-15);
  // The released code's order does.
  EXPECT_GT(std::abs(pure(logits, rewards, 3, 1, RewardOrder::released_code).loss - before.loss), 1e-3);
}

TEST(StabilisedDistillation, LogitsOfTwoHundredAreFinite) {
  vector<double> logits = golden_logits;
  for (double& z : logits) z *= 100;
  const Answer answer = pure(logits, golden_rewards, 3);
  EXPECT_TRUE(std::isfinite(answer.loss));
  for (const double d : answer.d_logits) EXPECT_TRUE(std::isfinite(d));
}

/// cosine / temperature of every query with every passage, [N,N*G].
vector<double> all_logits(const LossProblem& problem, double temperature) {
  const Cosines all(problem.queries, problem.passages, problem.width, problem.width);
  vector<double> out;
  for (size_t i = 0; i < all.queries(); ++i)
    for (size_t j = 0; j < all.passages(); ++j) out.push_back(all({i, all.passage(j)}) / temperature);
  return out;
}

TEST(StabilisedDistillation, TensorFormEqualsThePureFunctionForBothOrdersAndAnyTiling) {
  const LossProblem problem(150, 3, 9);  // 150 rows are three tiles when a tile is as small as it may be
  for (const RewardOrder order : {RewardOrder::full_sort, RewardOrder::released_code}) {
    const double expected = pure(all_logits(problem, 0.1), problem.teacher_scores, 3, 0.5, order).loss;
    StabilisedOptions options{.temperature = 0.1, .teacher_temperature = 0.5, .order = order};
    StabilisedDistillation one_tile(options);
    options.tile_elements = 1;
    StabilisedDistillation three_tiles(options);
    const LossAnswer whole = answer_alone(one_tile, problem), tiled = answer_alone(three_tiles, problem);
    EXPECT_NEAR(whole.loss, expected, 1e-13 * expected);
    EXPECT_NEAR(tiled.loss, expected, 1e-13 * expected);
    EXPECT_LT(gradient_difference(tiled, whole), 1e-14);
  }
}

TEST(StabilisedDistillation, MasksFalseNegativesAmongOtherQueriesPassagesOnly) {
  LossProblem problem(12, 3, 5);
  problem.plant_duplicates();
  const TextHashes hashes{problem.query_hash, problem.passage_hash, problem.passage_document};
  vector<double> logits = all_logits(problem, 0.2);
  int64_t masked = 0;
  for (int64_t i = 0; i < 12; ++i)
    for (int64_t j = 0; j < 36; ++j)
      if (j / 3 != i && is_false_negative(hashes, 3, i, j)) {
        logits[static_cast<size_t>(36 * i + j)] = -std::numeric_limits<double>::infinity();
        ++masked;
      }
  EXPECT_GT(masked, 0);
  StabilisedDistillation loss({.temperature = 0.2, .duplicates = Duplicates::masked});
  const LossAnswer got = answer_alone(loss, problem);
  EXPECT_NEAR(got.loss, pure(logits, problem.teacher_scores, 3).loss, 1e-13);
  EXPECT_EQ(got.masked, masked);
}

TEST(StabilisedDistillation, WithoutInBatchNegativesOnlyTheOwnGroupCompetes) {
  LossProblem problem(6, 3, 5);
  StabilisedDistillation shared({.temperature = 0.2}), own({.temperature = 0.2, .candidates = Candidates::own_group});
  const LossAnswer expected = answer_alone(own, problem), with_others = answer_alone(shared, problem);
  problem.in_batch_negatives = false;
  const LossAnswer got = answer_alone(shared, problem);
  EXPECT_EQ(got.loss, expected.loss);
  EXPECT_EQ(gradient_difference(got, expected), 0);
  EXPECT_LT(got.loss, with_others.loss);
  // One query alone has no others either.
  const LossProblem single(1, 3, 5);
  EXPECT_NEAR(answer_alone(shared, single).loss, answer_alone(own, single).loss, 1e-14);
}

TEST(StabilisedDistillation, SinglePrecisionFollowsDoubleAtASmallTemperature) {
  const LossProblem problem(40, 4, 16);
  StabilisedDistillation loss({.temperature = 0.01});
  const RoundedAnswer expected = rounded_answer(loss, problem);
  for (const char* backend : {"reference", "cpu"}) expect_rounded(answer_alone(loss, problem, DType::f32, backend), expected, backend);
}

TEST(StabilisedDistillation, RowsWithoutTeacherScoresAreAnErrorInTheData) {
  LossProblem problem(3, 2, 4);
  problem.teacher_scores = {};
  StabilisedDistillation loss({});
  try {
    answer_alone(loss, problem);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::data);
    EXPECT_STREQ(error.what(), "stabilised distillation needs a teacher score for each of 6 passages, the rows give 0");
  }
}

TEST(StabilisedDistillation, RefusesImpossibleSettings) {
  EXPECT_THROW(StabilisedDistillation({.temperature = 0}), Error);
  EXPECT_THROW(StabilisedDistillation({.teacher_temperature = 0}), Error);
}

}  // namespace
}  // namespace lodestone::test
