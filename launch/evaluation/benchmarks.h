// Which data sets the published averages are over, and their arithmetic.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lodestone {

/// The kinds of task of MTEB.
enum class TaskType : uint8_t { classification, clustering, pair_classification, reranking, retrieval, sts, summarization };
constexpr std::string_view name_of(TaskType type) {
  switch (type) {
    case TaskType::classification:
      return "classification";
    case TaskType::clustering:
      return "clustering";
    case TaskType::pair_classification:
      return "pair_classification";
    case TaskType::reranking:
      return "reranking";
    case TaskType::retrieval:
      return "retrieval";
    case TaskType::sts:
      return "sts";
    case TaskType::summarization:
      return "summarization";
  }
  return {};
}

/// C-MTEB's 35 data sets, or the 56 of MTEB's first English benchmark.
enum class Benchmark : uint8_t { c_mteb, mteb_english };
constexpr std::string_view name_of(Benchmark benchmark) {
  switch (benchmark) {
    case Benchmark::c_mteb:
      return "c_mteb";
    case Benchmark::mteb_english:
      return "mteb_english";
  }
  return {};
}

/// A data set as the mteb package calls it, and its kind.
struct BenchmarkTask {
  std::string_view name;
  TaskType type;
};
std::span<const BenchmarkTask> tasks_of(Benchmark benchmark);

struct BenchmarkAverages {
  struct OfType {
    TaskType type;
    int64_t found = 0, all = 0;  // data sets with a score, and in the benchmark
    double mean = 0;             // of those with a score; NaN without one
  };
  std::vector<OfType> types;         // in the order of TaskType, those that the benchmark has
  double mean = 0;                   // over all data sets that have a score, as leaderboards print it: not of the types' means
  double mean_of_types = 0;          // of those types that have one
  std::vector<std::string> missing;  // data sets without a score, in the benchmark's order: a published average has none
};

/// Main scores by data set; names that the benchmark lacks are passed over. Means are NaN where nothing was found.
BenchmarkAverages averages(Benchmark benchmark, const std::map<std::string, double>& scores);

}  // namespace lodestone
