// Pair classification: cases worked by hand, and what MTEB says of others.
#include "launch/evaluation/binary_scores.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"
#include "tests/launch/evaluation/evaluators_golden.h"

namespace lodestone::test {
namespace {

using std::vector;

TEST(BinaryScores, OfAHandWorkedRanking) {
  // From the nearest: 1 1 0 1 0. Taking two: accuracy 4/5, F1 4/5. Taking four: accuracy 4/5, F1 6/7.
  const vector<double> scores{0.2, 0.9, 0.5, 0.8, 0.3};
  const vector<uint8_t> labels{0, 1, 0, 1, 1};
  const BinaryScores found = binary_scores(scores, labels, Nearer::higher);
  EXPECT_DOUBLE_EQ(found.accuracy, 0.8);
  EXPECT_DOUBLE_EQ(found.accuracy_threshold, 0.65) << "the first of two that are as good";
  EXPECT_DOUBLE_EQ(found.f1, 6.0 / 7);
  EXPECT_DOUBLE_EQ(found.precision, 0.75);
  EXPECT_DOUBLE_EQ(found.recall, 1);
  EXPECT_DOUBLE_EQ(found.f1_threshold, 0.25);
  EXPECT_DOUBLE_EQ(found.average_precision, (1 + 1 + 0.75) / 3);
}

TEST(BinaryScores, EqualScoresEnterTogetherWhateverTheirOrder) {
  // One group of two (one belongs together) behind one that does: precision 1 at recall 1/2, then 2/3 at recall 1.
  vector<double> scores{0.9, 0.5, 0.5};
  vector<uint8_t> labels{1, 1, 0};
  const double expected = 0.5 * 1 + 0.5 * 2 / 3;
  EXPECT_DOUBLE_EQ(average_precision(scores, labels, Nearer::higher), expected);
  std::swap(labels[1], labels[2]);
  EXPECT_DOUBLE_EQ(average_precision(scores, labels, Nearer::higher), expected);
  EXPECT_DOUBLE_EQ(binary_scores(scores, labels, Nearer::higher).accuracy, 2.0 / 3) << "no threshold lies within the group";
}

TEST(BinaryScores, DistancesAreNearerWhenLower) {
  const vector<double> scores{0.1, 0.2, 3, 4};
  const vector<uint8_t> labels{1, 1, 0, 0};
  const BinaryScores near = binary_scores(scores, labels, Nearer::lower), far = binary_scores(scores, labels, Nearer::higher);
  EXPECT_EQ(near.accuracy, 1);
  EXPECT_DOUBLE_EQ(near.accuracy_threshold, 1.6);
  EXPECT_EQ(near.average_precision, 1);
  EXPECT_LT(far.average_precision, 0.5);
}

TEST(BinaryScores, OfOneScoreOrOneClassThereIsNoThresholdOrNoPrecision) {
  const vector<double> equal{0.5, 0.5, 0.5, 0.5}, scores{0.1, 0.2, 0.3, 0.4};
  const vector<uint8_t> mixed{1, 0, 0, 1}, none{0, 0, 0, 0}, all{1, 1, 1, 1};
  const BinaryScores flat = binary_scores(equal, mixed, Nearer::higher);
  EXPECT_EQ(flat.accuracy, 0);
  EXPECT_TRUE(std::isnan(flat.accuracy_threshold));
  EXPECT_TRUE(std::isnan(flat.f1_threshold));
  EXPECT_EQ(flat.average_precision, 0.5) << "the share of pairs that belong together";
  EXPECT_EQ(binary_scores(scores, none, Nearer::higher).average_precision, 0);
  EXPECT_EQ(binary_scores(scores, none, Nearer::higher).f1, 0);
  EXPECT_EQ(binary_scores(scores, all, Nearer::higher).average_precision, 1);
}

TEST(BinaryScores, RefusesWhatIsNoScoreOrLabel) {
  const vector<double> scores{0.1, std::nan("")};
  const vector<uint8_t> labels{0, 1}, odd{0, 2};
  EXPECT_THROW(binary_scores(scores, labels, Nearer::higher), Error);
  EXPECT_THROW(average_precision(vector<double>{1, 2}, odd, Nearer::higher), Error);
  EXPECT_THROW(average_precision(vector<double>{1}, labels, Nearer::higher), Error);
}

TEST(BinaryScores, NearnessOfAHandWorkedPair) {
  const vector<float> x{3, 4}, y{4, 3}, zero{0, 0};
  const Nearness near = nearness(x, y);
  EXPECT_DOUBLE_EQ(near.cosine, 24.0 / 25);
  EXPECT_DOUBLE_EQ(near.dot, 24);
  EXPECT_DOUBLE_EQ(near.manhattan, 2);
  EXPECT_DOUBLE_EQ(near.euclidean, std::sqrt(2.0));
  EXPECT_EQ(nearness(x, zero).cosine, 0);
}

TEST(BinaryScores, RowsThatAreNotFiniteAreNamed) {
  vector<float> vectors{1, 2, 3, 4, 5, 6};
  EXPECT_NO_THROW(require_finite_rows(std::span<const float>(vectors), 2, "texts"));
  vector<float> odd = vectors;
  odd[3] = std::nanf("");
  try {
    require_finite_rows(std::span<const float>(odd), 2, "texts");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::numerical);
    EXPECT_NE(error.where().find("row=2"), std::string::npos) << error.where();
  }
}

TEST(BinaryScoresGolden, AgreeWithMteb) {
  const auto cases = evaluators_golden("pairs");
  ASSERT_FALSE(cases.empty());
  for (const auto& one : cases) {
    const auto scores = one.at("scores").get<vector<double>>();
    const auto labels = one.at("labels").get<vector<uint8_t>>();
    const BinaryScores found = binary_scores(scores, labels, one.at("higher").get<bool>() ? Nearer::higher : Nearer::lower);
    const auto& expected = one.at("expected");
    EXPECT_NEAR(found.accuracy, expected.at("accuracy"), 1e-12);
    if (found.accuracy > 0) {  // else MTEB calls the threshold -1, and that of F1 0
      EXPECT_NEAR(found.accuracy_threshold, expected.at("accuracy_threshold"), 1e-12);
    }
    EXPECT_NEAR(found.f1, expected.at("f1"), 1e-12);
    if (found.f1 > 0) {
      EXPECT_NEAR(found.f1_threshold, expected.at("f1_threshold"), 1e-12);
    }
    EXPECT_NEAR(found.precision, expected.at("precision"), 1e-12);
    EXPECT_NEAR(found.recall, expected.at("recall"), 1e-12);
    EXPECT_NEAR(found.average_precision, expected.at("ap"), 1e-12);
  }
}

}  // namespace
}  // namespace lodestone::test
