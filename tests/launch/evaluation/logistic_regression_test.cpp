// Logistic regression: minima worked by hand, and those of scikit-learn.
#include "launch/evaluation/logistic_regression.h"

#include <gtest/gtest.h>

#include "launch/evaluation/line_search.h"
#include "tests/launch/evaluation/evaluators_golden.h"

namespace lodestone::test {
namespace {

using std::vector;

constexpr LogisticSettings exact{.most_iterations = 100000, .gradient_tolerance = 1e-10};

TEST(Lbfgs, FindsTheMinimumOfRosenbrocksValley) {
  vector<double> x{-1.2, 1};
  const auto valley = [](std::span<const double> at, std::span<double> gradient) {
    const double a = 1 - at[0], b = at[1] - at[0] * at[0];
    gradient[0] = -2 * a - 400 * at[0] * b;
    gradient[1] = 200 * b;
    return a * a + 100 * b * b;
  };
  const LbfgsResult found = minimise(valley, x, {.gradient_tolerance = 1e-9, .least_decrease = 0});
  EXPECT_TRUE(found.converged);
  EXPECT_NEAR(x[0], 1, 1e-8);
  EXPECT_NEAR(x[1], 1, 1e-8);
  EXPECT_LT(found.iterations, 60);
}

TEST(Lbfgs, EndsAtItsLimitAndSaysSo) {
  vector<double> x{30};
  const auto bowl = [](std::span<const double> at, std::span<double> gradient) {
    gradient[0] = std::sinh(at[0] / 10);
    return 10 * std::cosh(at[0] / 10);
  };
  const LbfgsResult found = minimise(bowl, x, {.most_iterations = 2, .gradient_tolerance = 1e-9});
  EXPECT_FALSE(found.converged);
  EXPECT_EQ(found.iterations, 2);
}

TEST(LineSearch, EndsWhereTheStrongWolfeConditionsHoldWhereverItBegins) {
  // Moré and Thuente's first function: f(s) = -s / (s^2 + 2), least at sqrt(2).
  for (const double first : {1e-3, 0.1, 1.0, 10.0, 1e3}) {
    double asked = 0;
    const auto at = [&](double step) {
      asked = step;
      const double below = step * step + 2;
      return LinePoint{step, -step / below, (step * step - 2) / (below * below)};
    };
    const LinePoint found = search_line(at, {0, 0, -0.5}, first);
    EXPECT_GT(found.step, 0);
    EXPECT_LE(found.value, -1e-3 * 0.5 * found.step) << first;
    EXPECT_LE(std::abs(found.slope), 0.9 * 0.5) << first;
    EXPECT_EQ(asked, found.step) << "asked last";
  }
}

TEST(LineSearch, ALineThatOnlyRisesHasNoStep) {
  const auto at = [](double step) { return LinePoint{step, step, 1}; };
  const LinePoint found = search_line(at, {0, 0, -1}, 1);  // a slope that is not the function's
  EXPECT_LE(found.value, 1e-9);
}

TEST(LogisticRegression, OfOneSymmetricFeatureHasTheWeightThatItsEquationGives) {
  // Rows 1 and -1 of classes 1 and 0: the mean loss ln(1 + e^-w) plus w^2 / (2 c n) has its minimum where sigma(-w) = w / (c n).
  const vector<double> values{1, -1};
  const vector<int64_t> labels{1, 0};
  const LogisticModel model = fit_logistic({values, 1}, labels, exact);
  ASSERT_EQ(model.weights.size(), 1u);
  const double w = model.weights[0];
  EXPECT_NEAR(1 / (1 + std::exp(w)), w / 2, 1e-9);
  EXPECT_NEAR(model.intercepts[0], 0, 1e-9);
  EXPECT_NEAR(model.objective, std::log1p(std::exp(-w)) + w * w / 4, 1e-12);
}

TEST(LogisticRegression, WithoutFeaturesThatTellGivesTheSharesOfTheClasses) {
  const vector<double> values(6, 0.0);
  const vector<int64_t> labels{4, 4, 4, 7, 7, 9};
  const LogisticModel model = fit_logistic({values, 1}, labels, exact);
  EXPECT_EQ(model.classes, (vector<int64_t>{4, 7, 9}));
  EXPECT_NEAR(model.objective, -(0.5 * std::log(0.5) + std::log(1.0 / 3) / 3 + std::log(1.0 / 6) / 6), 1e-9);
  EXPECT_EQ(predict(model, {values, 1}, 1), vector<int64_t>(6, 4));
}

TEST(LogisticRegression, RefusesASingleClass) {
  const vector<double> values{1, 2};
  const vector<int64_t> labels{3, 3};
  EXPECT_THROW(fit_logistic({values, 1}, labels, {}), Error);
}

TEST(LogisticRegression, ThreadsChangeNoBit) {
  const auto cases = evaluators_golden("logistic");
  const OwnedRows rows(cases.at(2).at("rows"));
  const auto labels = cases.at(2).at("labels").get<vector<int64_t>>();
  const LogisticModel one = fit_logistic(rows.rows(), labels, {}), three = fit_logistic(rows.rows(), labels, {.threads = 3});
  EXPECT_EQ(one.weights, three.weights);
  EXPECT_EQ(one.objective, three.objective);
}

TEST(LogisticRegressionGolden, MinimaAreThoseOfScikitLearn) {
  const auto cases = evaluators_golden("logistic");
  ASSERT_FALSE(cases.empty());
  for (const auto& one : cases) {
    const OwnedRows rows(one.at("rows"));
    const auto labels = one.at("labels").get<vector<int64_t>>();
    const double objective = one.at("objective");
    const LogisticModel model = fit_logistic(rows.rows(), labels, exact);
    EXPECT_NEAR(model.objective, objective, 1e-9 * objective);
    EXPECT_EQ(predict(model, OwnedRows(one.at("test")).rows(), 1), one.at("predicted").get<vector<int64_t>>());
  }
}

TEST(LogisticRegressionGolden, EarlyStopsAreAtThePlaceWhereScikitLearnStops) {
  for (const auto& one : evaluators_golden("logistic")) {
    const OwnedRows rows(one.at("rows"));
    const LogisticModel model = fit_logistic(rows.rows(), one.at("labels").get<vector<int64_t>>(), {});
    const double objective = one.at("objective_by_default");
    EXPECT_TRUE(model.converged);
    EXPECT_EQ(model.iterations, one.at("iterations_by_default"));
    EXPECT_GT(objective, 0);
    EXPECT_NEAR(model.objective, objective, 1e-9 * objective) << "which is further from its minimum, " << one.at("objective");
    EXPECT_EQ(predict(model, OwnedRows(one.at("test")).rows(), 1), one.at("predicted_by_default").get<vector<int64_t>>());
  }
}

}  // namespace
}  // namespace lodestone::test
