// Averages over benchmarks: those that papers print, from the columns that they print.
#include "launch/evaluation/benchmarks.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <set>

namespace lodestone::test {
namespace {

using Columns = std::map<TaskType, double>;

/// Each data set with its column's mean.
std::map<std::string, double> spread(Benchmark benchmark, const Columns& columns) {
  std::map<std::string, double> scores;
  for (const BenchmarkTask& task : tasks_of(benchmark)) scores[std::string(task.name)] = columns.at(task.type);
  return scores;
}

Columns chinese(const std::array<double, 6>& c) {  // class, clust, rerank, retr, sts, pair
  return {{TaskType::classification, c[0]}, {TaskType::clustering, c[1]}, {TaskType::reranking, c[2]},
          {TaskType::retrieval, c[3]},      {TaskType::sts, c[4]},        {TaskType::pair_classification, c[5]}};
}

TEST(Benchmarks, HaveAsManyDataSetsOfEachTypeAsTheirPapersSay) {
  const auto count = [](Benchmark benchmark) {
    std::map<TaskType, int> counts;
    std::set<std::string_view> names;
    for (const BenchmarkTask& task : tasks_of(benchmark)) {
      ++counts[task.type];
      EXPECT_TRUE(names.insert(task.name).second) << task.name;
    }
    return counts;
  };
  EXPECT_EQ(count(Benchmark::c_mteb), (std::map<TaskType, int>{{TaskType::classification, 9},
                                                               {TaskType::clustering, 4},
                                                               {TaskType::pair_classification, 2},
                                                               {TaskType::reranking, 4},
                                                               {TaskType::retrieval, 8},
                                                               {TaskType::sts, 8}}));
  EXPECT_EQ(count(Benchmark::mteb_english), (std::map<TaskType, int>{{TaskType::classification, 12},
                                                                     {TaskType::clustering, 11},
                                                                     {TaskType::pair_classification, 3},
                                                                     {TaskType::reranking, 4},
                                                                     {TaskType::retrieval, 15},
                                                                     {TaskType::sts, 10},
                                                                     {TaskType::summarization, 1}}));
}

TEST(Benchmarks, AveragesOfPublishedColumnsAreThosePublished) {
  struct Row {
    std::array<double, 6> columns;
    double average;
  };
  // Conan-embedding's table of C-MTEB, then C-Pack's. An average is rounded to two digits, and so are columns of up to 9 data sets: 0.01.
  const Row rows[] = {{{75.03, 66.33, 72.76, 76.67, 64.18, 91.66}, 72.62}, {{74.59, 62.17, 70.00, 74.36, 63.50, 90.24}, 70.95},
                      {{74.43, 62.23, 72.34, 76.36, 64.22, 91.55}, 71.88}, {{74.67, 65.17, 72.58, 76.50, 64.53, 91.87}, 72.43},
                      {{68.32, 48.39, 65.11, 71.53, 54.98, 78.94}, 63.96}, {{67.07, 47.63, 64.91, 69.53, 54.12, 77.50}, 62.80},
                      {{68.59, 47.73, 60.12, 63.90, 47.71, 61.67}, 59.00}, {{69.13, 48.99, 65.84, 70.46, 56.25, 81.60}, 64.53}};
  for (const Row& row : rows) {
    const BenchmarkAverages found = averages(Benchmark::c_mteb, spread(Benchmark::c_mteb, chinese(row.columns)));
    EXPECT_NEAR(found.mean, row.average, 0.01);
    EXPECT_TRUE(found.missing.empty());
  }
}

TEST(Benchmarks, TheMeanOverDataSetsIsNotTheMeanOfTheTypes) {
  const auto scores = spread(Benchmark::c_mteb, chinese({75.03, 66.33, 72.76, 76.67, 64.18, 91.66}));
  const BenchmarkAverages found = averages(Benchmark::c_mteb, scores);
  EXPECT_NEAR(found.mean, (9 * 75.03 + 4 * 66.33 + 4 * 72.76 + 8 * 76.67 + 8 * 64.18 + 2 * 91.66) / 35, 1e-12);
  EXPECT_EQ(std::round(found.mean * 100) / 100, 72.62);
  EXPECT_NEAR(found.mean_of_types, (75.03 + 66.33 + 72.76 + 76.67 + 64.18 + 91.66) / 6, 1e-12);
}

TEST(Benchmarks, DataSetsWithoutAScoreAreNamedAndOthersPassedOver) {
  const BenchmarkAverages found = averages(Benchmark::mteb_english, {{"SciFact", 70}, {"NFCorpus", 30}, {"STS12", 80}, {"MyOwn", 1}});
  EXPECT_DOUBLE_EQ(found.mean, 60);
  EXPECT_DOUBLE_EQ(found.mean_of_types, 65);
  EXPECT_EQ(found.missing.size(), 53u);
  for (const auto& type : found.types) EXPECT_EQ(std::isnan(type.mean), type.found == 0);
  EXPECT_TRUE(std::isnan(averages(Benchmark::c_mteb, {}).mean));
}

}  // namespace
}  // namespace lodestone::test
