// Clusters and their V-measure: cases worked by hand, and those of scikit-learn.
#include "launch/evaluation/kmeans.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "launch/evaluation/v_measure.h"
#include "tests/launch/evaluation/evaluators_golden.h"

namespace lodestone::test {
namespace {

using std::vector;

TEST(VMeasure, OfHandWorkedClusters) {
  const vector<int64_t> labels{1, 1, 2, 2};
  EXPECT_DOUBLE_EQ(v_measure(labels, vector<int64_t>{7, 7, 3, 3}), 1) << "names do not count";
  EXPECT_EQ(v_measure(labels, vector<int64_t>{0, 1, 0, 1}), 0) << "clusters say nothing of labels";
  EXPECT_EQ(v_measure(labels, vector<int64_t>{5, 5, 5, 5}), 0) << "one cluster is complete but not homogeneous";
  // Four clusters: homogeneous; completeness ln 2 / ln 4 = 1/2; harmonic mean 2/3.
  EXPECT_DOUBLE_EQ(v_measure(labels, vector<int64_t>{0, 1, 2, 3}), 2.0 / 3);
  EXPECT_EQ(v_measure(vector<int64_t>{4, 4}, vector<int64_t>{9, 9}), 1);
  EXPECT_THROW(v_measure(labels, vector<int64_t>{1}), Error);
  EXPECT_THROW(v_measure({}, {}), Error);
}

TEST(KMeans, FindsClustersThatLieApart) {
  vector<double> values;
  vector<int64_t> labels;
  for (int64_t i = 0; i < 120; ++i) {
    labels.push_back(i % 4);
    values.push_back(100.0 * static_cast<double>(i % 2) + 0.01 * static_cast<double>(i));
    values.push_back(100.0 * static_cast<double>(i / 2 % 2) - 0.02 * static_cast<double>(i));
  }
  EXPECT_DOUBLE_EQ(v_measure(labels, mini_batch_kmeans({values, 2}, 4, {.batch = 30})), 1);
}

TEST(KMeans, OneClusterHoldsAllAndMoreThanRowsAreRefused) {
  const vector<double> values{1, 5, 9, 14, 22};
  EXPECT_EQ(mini_batch_kmeans({values, 1}, 1, {}), vector<int64_t>(5, 0));
  EXPECT_THROW(mini_batch_kmeans({values, 1}, 6, {}), Error);
  EXPECT_THROW(mini_batch_kmeans({values, 1}, 0, {}), Error);
}

TEST(KMeans, RowsThatAreAllEqualAreOneCluster) {
  const vector<double> values(40, 2.5);
  EXPECT_EQ(mini_batch_kmeans({values, 2}, 3, {.batch = 5}), vector<int64_t>(20, 0));
}

TEST(KMeans, SeedsDecideAndThreadsDoNot) {
  const auto cases = evaluators_golden("clusters");
  const OwnedRows rows(cases.at(1).at("rows"));
  const auto found = [&](uint32_t seed, int threads) {
    return mini_batch_kmeans(rows.rows(), 12, {.batch = 20, .seed = seed, .threads = threads});
  };
  EXPECT_EQ(found(3, 1), found(3, 4));
  EXPECT_NE(found(3, 1), found(4, 1));
}

TEST(KMeansGolden, ClustersAndTheirVMeasureAreThoseOfScikitLearn) {
  const auto cases = evaluators_golden("clusters");
  ASSERT_FALSE(cases.empty());
  for (const auto& one : cases) {
    const auto labels = one.at("labels").get<vector<int64_t>>(), expected = one.at("found").get<vector<int64_t>>();
    EXPECT_NEAR(v_measure(labels, expected), one.at("v_measure"), 1e-12);
    if (!one.contains("rows")) continue;
    const OwnedRows rows(one.at("rows"));
    EXPECT_EQ(mini_batch_kmeans(rows.rows(), one.at("clusters"), {.batch = one.at("batch"), .seed = one.at("seed")}), expected);
  }
}

}  // namespace
}  // namespace lodestone::test
