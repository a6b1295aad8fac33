// A weighted sum of losses: values, gradients and counts add up; refused settings.
#include "losses/sum.h"

#include <gtest/gtest.h>

#include "losses/gte.h"
#include "losses/info_nce.h"
#include "tests/support/loss_problem.h"

namespace lodestone::test {
namespace {

TEST(SumLoss, AddsItsWeightedTermsAndTheirCounts) {
  LossProblem problem(6, 2, 5);
  problem.plant_duplicates();
  const InfoNceOptions masked{.temperature = 0.1, .duplicates = Duplicates::masked};
  InfoNce first(masked);
  Gte second({.temperature = 0.2});
  const LossAnswer a = answer_alone(first, problem), b = answer_alone(second, problem);
  std::vector<WeightedLoss> terms;
  terms.push_back({std::make_unique<InfoNce>(masked), 0.5});
  terms.push_back({std::make_unique<Gte>(GteOptions{.temperature = 0.2}), 3});
  SumLoss sum(std::move(terms));
  const LossAnswer got = answer_alone(sum, problem);
  LossAnswer expected{0.5 * a.loss + 3 * b.loss, 0, a.d_queries, a.d_passages};
  for (size_t i = 0; i < a.d_queries.size(); ++i) expected.d_queries[i] = 0.5 * a.d_queries[i] + 3 * b.d_queries[i];
  for (size_t i = 0; i < a.d_passages.size(); ++i) expected.d_passages[i] = 0.5 * a.d_passages[i] + 3 * b.d_passages[i];
  EXPECT_NEAR(got.loss, expected.loss, 1e-14);
  EXPECT_LT(gradient_difference(got, expected), 1e-15);
  EXPECT_GT(a.masked, 0);
  EXPECT_EQ(got.masked, a.masked);
}

TEST(SumLoss, RefusesNoTermsAndWeightsThatAreNotNumbers) {
  const auto where = [](std::vector<WeightedLoss> terms) {
    try {
      SumLoss loss(std::move(terms));
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::usage);
      return error.where();
    }
    return std::string("accepted");
  };
  EXPECT_EQ(where({}), "key=loss.terms");
  std::vector<WeightedLoss> terms;
  terms.push_back({std::make_unique<Gte>(GteOptions{}), HUGE_VAL});
  EXPECT_EQ(where(std::move(terms)), "key=loss.terms.weight");
}

}  // namespace
}  // namespace lodestone::test
