// The batch-balanced loss: golden values on scores, the tensor form against them, its relation to InfoNCE, refused settings.
#include "losses/cbb.h"

#include <gtest/gtest.h>

#include "core/cosent.h"
#include "losses/cosent.h"
#include "losses/cosines.h"
#include "losses/info_nce.h"
#include "losses/make_loss.h"
#include "tests/support/gradcheck.h"
#include "tests/support/loss_problem.h"

namespace lodestone::test {
namespace {

// Two queries, each with a negative on either of two ranks. A query's group: its positive, its negative on rank 0, that on
// rank 1.
constexpr double other_positive = 0.9;  // what a query scores with the other's positive; counts only when asked for
const std::vector<double> golden_scores{0.8, 0.6, 0.4, other_positive, 0.2, 0.3, other_positive, 0.1, 0.65, 0.7, 0.5, 0.0};

double value(const CbbInput& in) {
  std::vector<double> d_scores(in.scores.size());
  return cbb(in, d_scores);
}

TEST(CbbGolden, AllNegativesOfAllRanks) {
  EXPECT_NEAR(value({.scores = golden_scores, .group = 3, .temperature = 0.05}), 0.1725487876, 5e-11);
  EXPECT_NEAR(value({.scores = golden_scores, .group = 3, .temperature = 0.5}), 1.0821806483, 5e-11);
}

TEST(CbbGolden, WithItsWeightedCosentTermItIsConansTotal) {
  const std::vector<double> cosines{0.8, 0.3, 0.5, 0.5}, gold{1, 0, 1, 0.5};
  const auto total = [&](double temperature) {
    std::vector<int64_t> order(4);
    std::vector<double> below(4), above(4), d_cosines(4);
    sort_by_gold(gold, order);
    return value({.scores = golden_scores, .group = 3, .temperature = temperature}) +
           0.8 * cosent({.cosines = cosines, .gold = gold, .order = order, .temperature = temperature}, {below, above}, d_cosines);
  };
  EXPECT_NEAR(total(0.05), 0.7425773614, 1e-10);
  EXPECT_NEAR(total(0.5), 2.2410946306, 1e-10);
}

TEST(CbbGolden, OwnNegativesOnly) {
  CbbInput in{.scores = golden_scores, .group = 3, .temperature = 0.05, .negatives = NegativeScope::own};
  EXPECT_NEAR(value(in), 0.0183150235, 5e-11);
  in.temperature = 0.5;
  EXPECT_NEAR(value(in), 0.7009843426, 5e-11);
}

TEST(CbbGolden, OtherPositivesAddOneTermToEachQuery) {
  const double tau = 0.5, positives[2] = {0.8, 0.7};
  double expected = 0;
  const double scores[2][4] = {{0.6, 0.4, 0.2, 0.3}, {0.1, 0.65, 0.5, 0.0}};
  for (int i = 0; i < 2; ++i) {
    double sum = std::exp(positives[i] / tau) + std::exp(other_positive / tau);
    for (const double s : scores[i]) sum += std::exp(s / tau);
    expected += (std::log(sum) - positives[i] / tau) / 2;
  }
  EXPECT_NEAR(value({.scores = golden_scores, .group = 3, .temperature = tau, .other_positives = OtherPositives::included}), expected,
              1e-14);
}

TEST(CbbGolden, GradientAgreesWithCentralDifferences) {
  for (const NegativeScope scope : {NegativeScope::all, NegativeScope::own}) {
    for (const OtherPositives others : {OtherPositives::excluded, OtherPositives::included}) {
      std::vector<double> scores = golden_scores, d_scores(scores.size());
      const CbbInput in{.scores = scores, .group = 3, .temperature = 0.3, .negatives = scope, .other_positives = others};
      cbb(in, d_scores);
      expect_gradient("scores", scores, d_scores, [&] { return value(in); });
    }
  }
}

/// The pure function on the cosines of a batch, with the gradient of its vectors.
LossAnswer expected_answer(const LossProblem& problem, CbbInput in) {
  Cosines cosines(problem.queries, problem.passages, problem.width, problem.width);
  std::vector<CosinePair> pairs;
  for (size_t i = 0; i < cosines.queries(); ++i)
    for (size_t j = 0; j < cosines.passages(); ++j) pairs.push_back({i, cosines.passage(j)});
  std::vector<double> scores, d_scores(pairs.size());
  for (const CosinePair pair : pairs) scores.push_back(cosines(pair));
  in.scores = scores;
  in.group = problem.group;
  LossAnswer answer{cbb(in, d_scores), 0, problem.queries, problem.passages};
  for (size_t k = 0; k < pairs.size(); ++k) cosines.add_gradient(pairs[k], d_scores[k]);
  cosines.gradient(answer.d_queries, answer.d_passages);
  return answer;
}

TEST(Cbb, TensorFormEqualsThePureFunctionForEverySettingAndTiling) {
  for (const int64_t group : {1, 3}) {
    const LossProblem problem(150, group, 6);  // three tiles where a tile is as small as it may be
    for (const NegativeScope scope : {NegativeScope::all, NegativeScope::own}) {
      for (const OtherPositives others : {OtherPositives::excluded, OtherPositives::included}) {
        const LossAnswer expected = expected_answer(problem, {.temperature = 0.1, .negatives = scope, .other_positives = others});
        for (const int64_t tile_elements : {int64_t{1}, int64_t{1} << 20}) {
          Cbb loss({.temperature = 0.1, .negatives = scope, .other_positives = others, .tile_elements = tile_elements});
          const LossAnswer got = answer_alone(loss, problem);
          EXPECT_NEAR(got.loss, expected.loss, 1e-13);
          EXPECT_LT(gradient_difference(got, expected), 1e-14);
        }
      }
    }
  }
}

TEST(Cbb, WithOtherPositivesItIsInfoNceAndWithoutAnyItIsTheGroupAlone) {
  const LossProblem problem(7, 3, 5);
  Cbb all({.temperature = 0.1, .other_positives = OtherPositives::included}), own({.temperature = 0.1, .negatives = NegativeScope::own});
  InfoNce in_batch({.temperature = 0.1}), group_only({.temperature = 0.1, .candidates = Candidates::own_group});
  const LossAnswer a = answer_alone(all, problem), b = answer_alone(in_batch, problem);
  EXPECT_NEAR(a.loss, b.loss, 1e-14);
  EXPECT_LT(gradient_difference(a, b), 1e-15);
  const LossAnswer c = answer_alone(own, problem), d = answer_alone(group_only, problem);
  EXPECT_NEAR(c.loss, d.loss, 1e-14);
  EXPECT_LT(gradient_difference(c, d), 1e-15);
}

/// The first `width` components of every text, as a batch of their own.
LossProblem truncated(const LossProblem& whole, int64_t width) {
  LossProblem part = whole;
  part.width = width;
  for (const auto& [from, to] : {std::pair(&whole.queries, &part.queries), {&whole.passages, &part.passages}}) {
    to->clear();
    for (size_t row = 0; row < from->size(); row += static_cast<size_t>(whole.width)) {
      const auto begin = from->begin() + static_cast<std::ptrdiff_t>(row);
      to->insert(to->end(), begin, begin + width);
    }
  }
  return part;
}

// The retrieval and the similarity term of Conan's fine-tuning at its seven sizes, each equal to seven losses on their own.
TEST(Cbb, AtSevenMatryoshkaSizesItIsTheMeanOfSevenLossesAsCosentIs) {
  const std::vector<int64_t> sizes{256, 512, 768, 1024, 1280, 1536, 1792};
  const struct {
    LossOptions options;
    int64_t group;
  } terms[] = {{CbbOptions{.temperature = 0.05}, 3}, {CosentOptions{.temperature = 0.05}, 1}};
  for (const auto& [options, group] : terms) {
    const LossProblem problem(5, group, sizes.back());
    const auto together = make_loss({.terms = {{options}}, .matryoshka_dims = sizes}, sizes.back(), Device::cpu);
    const auto alone = make_loss({.terms = {{options}}}, sizes.back(), Device::cpu);
    const LossAnswer got = answer_alone(*together, problem);
    LossAnswer expected{0, 0, std::vector<double>(problem.queries.size()), std::vector<double>(problem.passages.size())};
    std::vector<double> values;
    for (const int64_t size : sizes) {
      const LossAnswer at = answer_alone(*alone, truncated(problem, size));
      values.push_back(at.loss);
      expected.loss += at.loss / 7;
      const auto add = [&](const std::vector<double>& from, std::vector<double>& to) {
        for (size_t i = 0; i < from.size(); ++i) {
          const auto width = static_cast<size_t>(size), whole = static_cast<size_t>(sizes.back());
          to[i / width * whole + i % width] += from[i] / 7;
        }
      };
      add(at.d_queries, expected.d_queries);
      add(at.d_passages, expected.d_passages);
    }
    EXPECT_NEAR(got.loss, expected.loss, 1e-13 * expected.loss);
    EXPECT_LT(gradient_difference(got, expected), 1e-14);
    EXPECT_GT(std::abs(values.front() - values.back()), 1e-3) << "sizes that all give the same would show nothing";
  }
}

TEST(Cbb, RefusesATemperatureThatIsNotPositive) {
  try {
    Cbb loss({.temperature = 0});
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.where(), "key=loss.temperature");
  }
}

}  // namespace
}  // namespace lodestone::test
