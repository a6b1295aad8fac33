// GTE's improved contrastive loss: golden values, limits, hard negatives, the tensor form, refused settings.
#include "losses/gte.h"

#include <gtest/gtest.h>

#include "tests/losses/golden_pairs.h"
#include "tests/support/gradcheck.h"
#include "tests/support/loss_problem.h"

namespace lodestone::test {
namespace {

constexpr std::array<double, 6> golden_positives{2, 1, 2, 2, -2, 1};

GteInput golden_pairs_input(double temperature, PositiveTerms terms) {
  return {.queries = golden_queries,
          .passages = golden_positives,
          .embedding = 3,
          .dimensions = 3,
          .temperature = temperature,
          .positive_terms = terms};
}

double value(const GteInput& in) {
  std::vector<double> dq(in.queries.size()), dp(in.passages.size());
  return gte(in, dq, dp);
}

TEST(GteGolden, LiteralValuesCountThePositiveTwice) {
  EXPECT_NEAR(value(golden_pairs_input(0.5, PositiveTerms::twice)), 1.3328870705, 5e-11);
  EXPECT_NEAR(value(golden_pairs_input(0.05, PositiveTerms::twice)), 0.7460450242, 5e-11);
  EXPECT_NEAR(value(golden_pairs_input(0.01, PositiveTerms::twice)), 0.6931546532, 5e-11);
}

TEST(GteGolden, ValuesWithThePositiveCountedOnce) {
  EXPECT_NEAR(value(golden_pairs_input(0.5, PositiveTerms::once)), 1.0267493379, 5e-11);
  EXPECT_NEAR(value(golden_pairs_input(0.05, PositiveTerms::once)), 0.1031375277, 5e-11);
}

TEST(GteGolden, HardNegativesJoinTheQueriesRivalsAndOnRequestThePositives) {
  GteInput in = golden_pairs_input(0.5, PositiveTerms::twice);
  in.passages = golden_passages;
  in.group = 2;
  EXPECT_NEAR(value(in), 1.5346187383, 5e-11);
  in.positive_rivals = PositiveRivals::all_passages;
  EXPECT_NEAR(value(in), 1.6343662084, 5e-11);
  in.positive_terms = PositiveTerms::once;
  EXPECT_NEAR(value(in), 1.4173518985, 5e-11);
  in.positive_rivals = PositiveRivals::positives;
  EXPECT_NEAR(value(in), 1.2917422590, 5e-11);
}

TEST(GteGolden, PerfectSeparationLeavesLogTwoOrNothing) {
  const std::vector<double> texts{1, 0, 0, 1};  // each query equals its positive and is orthogonal to the rest
  GteInput in{.queries = texts, .passages = texts, .embedding = 2, .dimensions = 2, .temperature = 0.02};
  EXPECT_NEAR(value(in), std::log(2.0), 1e-14);  // logits are 50
  in.positive_terms = PositiveTerms::once;
  EXPECT_NEAR(value(in), 0, 1e-15);
}

TEST(GteGolden, WithoutHardNegativesTheRivalsMakeNoDifference) {
  for (const PositiveTerms terms : {PositiveTerms::twice, PositiveTerms::once}) {
    GteInput in = golden_pairs_input(0.1, terms);
    const double positives = value(in);
    in.positive_rivals = PositiveRivals::all_passages;
    EXPECT_EQ(value(in), positives);
  }
}

TEST(GteGolden, GradientOfAllBlocksAgreesWithCentralDifferences) {
  for (const PositiveTerms terms : {PositiveTerms::twice, PositiveTerms::once}) {
    for (const PositiveRivals rivals : {PositiveRivals::positives, PositiveRivals::all_passages}) {
      for (const Candidates candidates : {Candidates::all_ranks, Candidates::own_group}) {
        LossProblem problem(4, 2, 4);
        const GteInput in{.queries = problem.queries,
                          .passages = problem.passages,
                          .embedding = 4,
                          .dimensions = 3,
                          .group = 2,
                          .temperature = 0.2,
                          .positive_terms = terms,
                          .positive_rivals = rivals,
                          .candidates = candidates};
        std::vector<double> dq(problem.queries.size()), dp(problem.passages.size());
        gte(in, dq, dp);
        expect_gradient("queries", problem.queries, dq, [&] { return value(in); });
        expect_gradient("passages", problem.passages, dp, [&] { return value(in); });
      }
    }
  }
}

TEST(Gte, TensorFormEqualsThePureFunctionForEverySettingAndTiling) {
  for (const int64_t group : {1, 3}) {
    const LossProblem problem(150, group, 6);  // three tiles where a tile is as small as it may be
    for (const PositiveTerms terms : {PositiveTerms::twice, PositiveTerms::once}) {
      for (const PositiveRivals rivals : {PositiveRivals::positives, PositiveRivals::all_passages}) {
        for (const Candidates candidates : {Candidates::all_ranks, Candidates::this_rank, Candidates::own_group}) {
          LossAnswer expected = {0, 0, problem.queries, problem.passages};
          expected.loss = gte({.queries = problem.queries,
                               .passages = problem.passages,
                               .embedding = 6,
                               .dimensions = 6,
                               .group = group,
                               .temperature = 0.1,
                               .positive_terms = terms,
                               .positive_rivals = rivals,
                               .candidates = candidates},
                              expected.d_queries, expected.d_passages);
          for (const int64_t tile_elements : {int64_t{1}, int64_t{1} << 20}) {
            Gte loss({.temperature = 0.1,
                      .positive_terms = terms,
                      .positive_rivals = rivals,
                      .candidates = candidates,
                      .tile_elements = tile_elements});
            const LossAnswer got = answer_alone(loss, problem);
            EXPECT_NEAR(got.loss, expected.loss, 1e-13);
            EXPECT_LT(gradient_difference(got, expected), 1e-14);
          }
        }
      }
    }
  }
}

TEST(Gte, RefusesATemperatureThatIsNotPositive) {
  try {
    Gte loss({.temperature = -1});
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.where(), "key=loss.temperature");
  }
}

}  // namespace
}  // namespace lodestone::test
