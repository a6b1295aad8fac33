// Scores of predicted classes and MTEB's samples: cases worked by hand, and what MTEB and NumPy say of others.
#include "launch/evaluation/class_scores.h"

#include <gtest/gtest.h>

#include <map>

#include "core/error.h"
#include "launch/evaluation/numpy_random.h"
#include "tests/launch/evaluation/evaluators_golden.h"

namespace lodestone::test {
namespace {

using std::vector;

TEST(ClassScores, OfAHandWorkedCaseWithAClassThatIsNeverPredictedAndOneNeverExpected) {
  // Class 0: 2 of 3 predicted right, 2 expected. Class 1: expected once, never predicted. Class 7: predicted once, never expected... of 4.
  const vector<int64_t> expected{0, 0, 1, 2}, predicted{0, 0, 0, 7};
  const ClassScores scores = class_scores(expected, predicted);
  EXPECT_DOUBLE_EQ(scores.accuracy, 0.5);
  EXPECT_DOUBLE_EQ(scores.precision, (2.0 / 3) / 4);
  EXPECT_DOUBLE_EQ(scores.recall, 1.0 / 4);
  EXPECT_DOUBLE_EQ(scores.f1, 0.8 / 4);
  EXPECT_DOUBLE_EQ(scores.f1_weighted, 0.8 * 2 / 4);
  EXPECT_TRUE(std::isnan(scores.average_precision)) << "three classes are expected";
}

TEST(ClassScores, TwoClassesHaveAnAveragePrecision) {
  const vector<int64_t> expected{1, 1, 0, 0}, predicted{1, 0, 1, 0};
  // Predicted 1: precision 1/2 at recall 1/2; then all: 1/2 at recall 1.
  EXPECT_DOUBLE_EQ(class_scores(expected, predicted).average_precision, 0.5);
  EXPECT_DOUBLE_EQ(class_scores(expected, expected).average_precision, 1);
  const vector<int64_t> one{3, 3};
  EXPECT_TRUE(std::isnan(class_scores(one, one).average_precision));
  EXPECT_EQ(class_scores(one, one).f1, 1);
  EXPECT_THROW(class_scores(one, expected), Error);
}

TEST(ClassScores, SamplesTakeEachClassUpToItsNumberAndAllOfASmallOne) {
  const vector<int64_t> labels{5, 5, 5, 9, 5, 5};
  const auto samples = few_shot_samples(labels, 3, 4, 1);
  ASSERT_EQ(samples.size(), 4u);
  for (const auto& sample : samples) {
    std::map<int64_t, int64_t> drawn;
    for (const int64_t place : sample) ++drawn[labels[static_cast<size_t>(place)]];
    EXPECT_EQ(drawn, (std::map<int64_t, int64_t>{{5, 3}, {9, 1}}));
  }
  EXPECT_NE(samples[0], samples[1]);
  EXPECT_EQ(samples, few_shot_samples(labels, 3, 4, 1));
  EXPECT_NE(samples, few_shot_samples(labels, 3, 4, 2));
}

TEST(ClassScoresGolden, AgreeWithMteb) {
  const auto cases = evaluators_golden("classes");
  ASSERT_FALSE(cases.empty());
  for (const auto& one : cases) {
    const ClassScores found = class_scores(one.at("expected").get<vector<int64_t>>(), one.at("predicted").get<vector<int64_t>>());
    const auto& expected = one.at("scores");
    EXPECT_NEAR(found.accuracy, expected.at("accuracy"), 1e-12);
    EXPECT_NEAR(found.f1, expected.at("f1"), 1e-12);
    EXPECT_NEAR(found.f1_weighted, expected.at("f1_weighted"), 1e-12);
    EXPECT_NEAR(found.precision, expected.at("precision"), 1e-12);
    EXPECT_NEAR(found.precision_weighted, expected.at("precision_weighted"), 1e-12);
    EXPECT_NEAR(found.recall, expected.at("recall"), 1e-12);
    EXPECT_NEAR(found.recall_weighted, expected.at("recall_weighted"), 1e-12);
    ASSERT_EQ(std::isnan(found.average_precision), expected.at("ap").is_null());
    if (!expected.at("ap").is_null()) {
      EXPECT_NEAR(found.average_precision, expected.at("ap"), 1e-12);
      EXPECT_NEAR(found.average_precision, expected.at("ap_weighted"), 1e-12);
    }
  }
}

TEST(ClassScoresGolden, SamplesAreThoseOfMteb) {
  for (const auto& one : evaluators_golden("samples")) {
    const auto expected = one.at("samples").get<vector<vector<int64_t>>>();
    EXPECT_EQ(few_shot_samples(one.at("labels").get<vector<int64_t>>(), one.at("per_label"), std::ssize(expected), one.at("seed")),
              expected);
  }
}

TEST(NumpyRandomGolden, DrawsAreThoseOfRandomState) {
  const auto expected = evaluators_golden("draws");
  NumpyRandom random(42);
  vector<int64_t> items(20);
  for (size_t i = 0; i < items.size(); ++i) items[i] = static_cast<int64_t>(i);
  random.shuffle(items);
  EXPECT_EQ(items, expected.at("shuffled").get<vector<int64_t>>());
  EXPECT_EQ(random.integers(1000, 10), expected.at("integers").get<vector<int64_t>>());
  for (const double value : expected.at("uniform")) EXPECT_EQ(random.uniform(), value);
  EXPECT_EQ(random.choose(37, 12), expected.at("chosen").get<vector<int64_t>>());
  EXPECT_EQ(random.choose_distinct(30, 8), expected.at("distinct").get<vector<int64_t>>());
}

}  // namespace
}  // namespace lodestone::test
