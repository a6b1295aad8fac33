// CoSENT: golden values, agreement with the sum over all ordered pairs, exact gradients, extremes, refused data.
#include "losses/cosent.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/cosent.h"
#include "launch/console/allocations.h"
#include "losses/cosines.h"
#include "tests/support/evaluate.h"
#include "tests/support/gradcheck.h"
#include "tests/support/loss_problem.h"
#include "tests/support/loss_rounding.h"

namespace lodestone::test {
namespace {

using std::vector;

double sorted_form(const vector<double>& cosines, const vector<double>& gold, double temperature, vector<double>& d_cosines) {
  const size_t n = cosines.size();
  vector<int64_t> order(n);
  vector<double> below(n), above(n);
  sort_by_gold(gold, order);
  d_cosines.assign(n, 5.0);  // set, not added to
  return cosent({.cosines = cosines, .gold = gold, .order = order, .temperature = temperature}, {below, above}, d_cosines);
}

/// The definition, over all ordered pairs.
double all_pairs_form(const vector<double>& cosines, const vector<double>& gold, double temperature, vector<double>& d_cosines) {
  const size_t n = cosines.size();
  double largest = 0, sum = 0;
  const auto each = [&](auto&& visit) {
    for (size_t a = 0; a < n; ++a)
      for (size_t b = 0; b < n; ++b)
        if (gold[a] > gold[b]) visit(a, b, (cosines[b] - cosines[a]) / temperature);
  };
  each([&](size_t, size_t, double z) { largest = std::max(largest, z); });
  each([&](size_t, size_t, double z) { sum += std::exp(z - largest); });
  const double loss = largest + std::log(std::exp(-largest) + sum);
  d_cosines.assign(n, 0);
  each([&](size_t a, size_t b, double z) {
    const double w = std::exp(z - loss) / temperature;
    d_cosines[b] += w;
    d_cosines[a] -= w;
  });
  return loss;
}

TEST(Cosent, GoldenValuesForThreeTemperatures) {
  const vector<double> cosines{0.8, 0.3, 0.5, 0.5}, gold{1, 0, 1, 0.5};
  vector<double> d;
  EXPECT_NEAR(sorted_form(cosines, gold, 0.05, d), 0.7125357172, 5e-11);
  EXPECT_NEAR(sorted_form(cosines, gold, 0.5, d), 1.4486424779, 5e-11);
  EXPECT_NEAR(sorted_form(cosines, gold, 1, d), 1.6063953659, 5e-11);
}

TEST(Cosent, SortedFormEqualsTheSumOverAllOrderedPairs) {
  std::mt19937 random(3);
  std::uniform_real_distribution<double> cosine(-1, 1);
  for (const size_t n : {1u, 2u, 3u, 17u, 100u, 500u}) {
    for (const unsigned levels : {1u, 2u, 6u, 1000u}) {  // all equal, many ties, few ties
      for (const double temperature : {0.01, 0.05, 1.0}) {
        vector<double> cosines(n), gold(n), d, expected;
        for (double& c : cosines) c = cosine(random);
        for (double& y : gold) y = static_cast<double>(random() % levels) / 5;
        const double value = all_pairs_form(cosines, gold, temperature, expected);
        EXPECT_NEAR(sorted_form(cosines, gold, temperature, d), value, 1e-13 * std::max(value, 1.0)) << n << " pairs";
        for (size_t i = 0; i < n; ++i) ASSERT_NEAR(d[i], expected[i], 1e-12 / temperature) << "pair " << i << " of " << n;
      }
    }
  }
}

TEST(Cosent, EqualGoldScoresGiveNoLossAndNoGradient) {
  vector<double> d;
  EXPECT_EQ(sorted_form({0.9, -0.2, 0.4}, {0.5, 0.5, 0.5}, 0.05, d), 0);
  EXPECT_EQ(d, (vector<double>{0, 0, 0}));
  EXPECT_EQ(sorted_form({}, {}, 0.05, d), 0);
  EXPECT_EQ(sorted_form({0.3}, {1}, 0.05, d), 0);
  EXPECT_EQ(d, vector<double>{0});
}

TEST(Cosent, CosinesAtBothEndsAreExactAtSmallTemperatures) {
  for (const double temperature : {0.01, 0.001, 1e-5}) {  // exp(2 / 1e-5) has 86,859 digits
    vector<double> d;
    EXPECT_NEAR(sorted_form({-1, 1}, {1, 0}, temperature, d), 2 / temperature, 1e-9);  // the worst order
    EXPECT_NEAR(d[0], -1 / temperature, 1e-9);
    EXPECT_NEAR(d[1], 1 / temperature, 1e-9);
    EXPECT_NEAR(sorted_form({1, -1}, {1, 0}, temperature, d), 0, 1e-12);  // the right order
    EXPECT_NEAR(d[0], 0, 1e-9);
    // A pair that is far out does not hide the order of two others that tie.
    EXPECT_NEAR(sorted_form({1, 0.5, 0.5, -1}, {3, 2, 1, 0}, temperature, d), std::log(2.0), 1e-12);
    EXPECT_NEAR(d[1], -0.5 / temperature, 1e-9);
    EXPECT_NEAR(d[2], 0.5 / temperature, 1e-9);
  }
}

TEST(Cosent, GradientAgreesWithCentralDifferences) {
  vector<double> cosines{0.8, 0.3, 0.5, 0.5, -0.4, 0.1}, d, unused;
  const vector<double> gold{1, 0, 1, 0.5, 0.5, 0.25};
  sorted_form(cosines, gold, 0.2, d);
  expect_gradient("cosines", cosines, d, [&] { return sorted_form(cosines, gold, 0.2, unused); });
}

TEST(Cosent, TensorFormEqualsThePureFunctionWithAnExactGradient) {
  LossProblem problem(23, 1, 6);
  Cosent loss({.temperature = 0.1});
  const LossAnswer exact = answer_alone(loss, problem);
  const Cosines all(problem.queries, problem.passages, 6, 6);
  vector<double> cosines, d;
  for (size_t i = 0; i < 23; ++i) cosines.push_back(all({i, all.passage(i)}));
  EXPECT_NEAR(exact.loss, sorted_form(cosines, problem.scores, 0.1, d), 1e-13);
  const auto value = [&] { return answer_alone(loss, problem).loss; };
  expect_gradient("queries", problem.queries, exact.d_queries, value, 5);
  expect_gradient("passages", problem.passages, exact.d_passages, value, 5);
}

TEST(Cosent, WeightScalesValueAndGradient) {
  const LossProblem problem(9, 1, 4);
  Cosent loss({.temperature = 0.1});
  LossAnswer whole = answer_alone(loss, problem);
  const LossAnswer quarter = answer_alone(loss, problem, DType::f64, "reference", 0.25);
  EXPECT_NEAR(quarter.loss, whole.loss / 4, 1e-15);
  for (double& v : whole.d_queries) v /= 4;
  for (double& v : whole.d_passages) v /= 4;
  EXPECT_LT(gradient_difference(quarter, whole), 1e-14);
}

TEST(Cosent, SinglePrecisionFollowsDouble) {
  const LossProblem problem(60, 1, 16);
  for (const double temperature : {0.05, 0.01}) {
    Cosent loss({.temperature = temperature});
    expect_rounded(answer_alone(loss, problem, DType::f32, "cpu"), rounded_answer(loss, problem, {.own = DType::f64}),
                   cat("temperature ", temperature));
  }
}

TEST(Cosent, AllocatesNothing) {
  const auto backend = make_backend({.kind = BackendKind::cpu});
  const auto self = make_self_comm();
  Arena arena(backend->memory(), size_t{1} << 28);
  Exec ex{*backend, arena, Key{}, DType::f32};
  vector<float> emb(2 * 100 * 8, 0.5f), d_emb(emb.size());
  for (size_t i = 0; i < emb.size(); ++i) emb[i] = static_cast<float>(i * 7919 % 101) / 50 - 1;
  const vector<double> scores = LossProblem(100, 1, 8).scores;
  const vector<int64_t> rank_queries{100};
  Pairs pairs;
  pairs.queries = pairs.global_queries = 100;
  pairs.rank_queries = rank_queries;
  pairs.scores = scores;
  Cosent loss({.temperature = 0.05});
  const Tensor x = view(std::span(emb)).reshape({200, 8}), dx = view(std::span(d_emb)).reshape({200, 8});
  evaluate(loss, ex, *self, x, pairs, 1, dx);
  const uint64_t before = heap_allocations();
  evaluate(loss, ex, *self, x, pairs, 1, dx);
  EXPECT_EQ(heap_allocations(), before);
}

std::string refusal(const LossProblem& problem) {
  try {
    Cosent loss({.temperature = 0.05});
    answer_alone(loss, problem);
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::data);
    EXPECT_FALSE(error.remedy().empty());
    return error.what();
  }
  return "accepted";
}

TEST(Cosent, RowsWithoutScoresAreAnErrorInTheData) {
  LossProblem problem(3, 1, 4);
  EXPECT_EQ(refusal(problem), "accepted");
  problem.scores[1] = std::nan("");
  EXPECT_EQ(refusal(problem), "a gold score is nan");
  problem.scores = {};
  EXPECT_EQ(refusal(problem), "cosent needs a gold score for each of 3 pairs, the rows give 0");
}

TEST(Cosent, RefusesImpossibleSettingsAndPairsWithTwoSecondTexts) {
  EXPECT_THROW(Cosent({.temperature = 0}), Error);
  EXPECT_THROW(Cosent({.temperature = std::nan("")}), Error);
  Cosent loss({});
  EXPECT_THROW(answer_alone(loss, LossProblem(3, 2, 4)), Error);
}

}  // namespace
}  // namespace lodestone::test
