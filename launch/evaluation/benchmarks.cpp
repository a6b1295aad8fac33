#include "launch/evaluation/benchmarks.h"

#include <cmath>

namespace lodestone {

namespace {

using enum TaskType;

// Xiao et al., C-Pack (SIGIR 2024), table 1.
constexpr BenchmarkTask c_mteb[] = {{"T2Retrieval", retrieval},
                                    {"MMarcoRetrieval", retrieval},
                                    {"DuRetrieval", retrieval},
                                    {"CovidRetrieval", retrieval},
                                    {"CmedqaRetrieval", retrieval},
                                    {"EcomRetrieval", retrieval},
                                    {"MedicalRetrieval", retrieval},
                                    {"VideoRetrieval", retrieval},
                                    {"T2Reranking", reranking},
                                    {"MMarcoReranking", reranking},
                                    {"CMedQAv1-reranking", reranking},
                                    {"CMedQAv2-reranking", reranking},
                                    {"Ocnli", pair_classification},
                                    {"Cmnli", pair_classification},
                                    {"CLSClusteringS2S", clustering},
                                    {"CLSClusteringP2P", clustering},
                                    {"ThuNewsClusteringS2S", clustering},
                                    {"ThuNewsClusteringP2P", clustering},
                                    {"ATEC", sts},
                                    {"BQ", sts},
                                    {"LCQMC", sts},
                                    {"PAWSX", sts},
                                    {"STSB", sts},
                                    {"AFQMC", sts},
                                    {"QBQTC", sts},
                                    {"STS22", sts},
                                    {"TNews", classification},
                                    {"IFlyTek", classification},
                                    {"MultilingualSentiment", classification},
                                    {"JDReview", classification},
                                    {"OnlineShopping", classification},
                                    {"Waimai", classification},
                                    {"AmazonReviewsClassification", classification},
                                    {"MassiveIntentClassification", classification},
                                    {"MassiveScenarioClassification", classification}};

// Muennighoff et al., MTEB (EACL 2023), as the mteb package has it for English, version 1.
constexpr BenchmarkTask mteb_english[] = {{"AmazonCounterfactualClassification", classification},
                                          {"AmazonPolarityClassification", classification},
                                          {"AmazonReviewsClassification", classification},
                                          {"Banking77Classification", classification},
                                          {"EmotionClassification", classification},
                                          {"ImdbClassification", classification},
                                          {"MassiveIntentClassification", classification},
                                          {"MassiveScenarioClassification", classification},
                                          {"MTOPDomainClassification", classification},
                                          {"MTOPIntentClassification", classification},
                                          {"ToxicConversationsClassification", classification},
                                          {"TweetSentimentExtractionClassification", classification},
                                          {"ArxivClusteringP2P", clustering},
                                          {"ArxivClusteringS2S", clustering},
                                          {"BiorxivClusteringP2P", clustering},
                                          {"BiorxivClusteringS2S", clustering},
                                          {"MedrxivClusteringP2P", clustering},
                                          {"MedrxivClusteringS2S", clustering},
                                          {"RedditClustering", clustering},
                                          {"RedditClusteringP2P", clustering},
                                          {"StackExchangeClustering", clustering},
                                          {"StackExchangeClusteringP2P", clustering},
                                          {"TwentyNewsgroupsClustering", clustering},
                                          {"SprintDuplicateQuestions", pair_classification},
                                          {"TwitterSemEval2015", pair_classification},
                                          {"TwitterURLCorpus", pair_classification},
                                          {"AskUbuntuDupQuestions", reranking},
                                          {"MindSmallReranking", reranking},
                                          {"SciDocsRR", reranking},
                                          {"StackOverflowDupQuestions", reranking},
                                          {"ArguAna", retrieval},
                                          {"ClimateFEVER", retrieval},
                                          {"CQADupstackRetrieval", retrieval},
                                          {"DBPedia", retrieval},
                                          {"FEVER", retrieval},
                                          {"FiQA2018", retrieval},
                                          {"HotpotQA", retrieval},
                                          {"MSMARCO", retrieval},
                                          {"NFCorpus", retrieval},
                                          {"NQ", retrieval},
                                          {"QuoraRetrieval", retrieval},
                                          {"SCIDOCS", retrieval},
                                          {"SciFact", retrieval},
                                          {"Touche2020", retrieval},
                                          {"TRECCOVID", retrieval},
                                          {"BIOSSES", sts},
                                          {"SICK-R", sts},
                                          {"STS12", sts},
                                          {"STS13", sts},
                                          {"STS14", sts},
                                          {"STS15", sts},
                                          {"STS16", sts},
                                          {"STS17", sts},
                                          {"STS22", sts},
                                          {"STSBenchmark", sts},
                                          {"SummEval", summarization}};

/// Sum and count of scores, and their mean.
struct Sum {
  double value = 0;
  int64_t count = 0;
  void add(double score) {
    value += score;
    ++count;
  }
  double mean() const { return count > 0 ? value / static_cast<double>(count) : std::nan(""); }
};

}  // namespace

std::span<const BenchmarkTask> tasks_of(Benchmark benchmark) {
  switch (benchmark) {
    case Benchmark::c_mteb:
      return c_mteb;
    case Benchmark::mteb_english:
      return mteb_english;
  }
  return {};
}

BenchmarkAverages averages(Benchmark benchmark, const std::map<std::string, double>& scores) {
  BenchmarkAverages out;
  std::map<TaskType, Sum> of_type;
  std::map<TaskType, int64_t> all;
  Sum total, types;
  for (const BenchmarkTask& task : tasks_of(benchmark)) {
    ++all[task.type];
    const auto found = scores.find(std::string(task.name));
    if (found == scores.end()) {
      out.missing.emplace_back(task.name);
      continue;
    }
    of_type[task.type].add(found->second);
    total.add(found->second);
  }
  for (const auto& [type, count] : all) {
    const Sum& sum = of_type[type];
    out.types.push_back({type, sum.count, count, sum.mean()});
    if (sum.count > 0) types.add(sum.mean());
  }
  out.mean = total.mean();
  out.mean_of_types = types.mean();
  return out;
}

}  // namespace lodestone
