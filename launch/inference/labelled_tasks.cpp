#include "launch/inference/labelled_tasks.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "comm/gather_values.h"
#include "data/plan/plan.h"
#include "launch/console/log.h"
#include "launch/console/progress.h"
#include "launch/evaluation/binary_scores.h"
#include "launch/evaluation/class_scores.h"
#include "launch/evaluation/kmeans.h"
#include "launch/evaluation/logistic_regression.h"
#include "launch/evaluation/v_measure.h"
#include "launch/inference/same_work.h"

namespace lodestone {

namespace {

constexpr int64_t block_texts = 128;      // embedded together, on whichever rank
constexpr int64_t predicted_rows = 1024;  // converted to f64 together

/// Vectors [n,E] of all texts on all ranks. Whole blocks are shared out, so that each is computed from the same texts on any number of
/// ranks.
std::vector<float> embed_all(Communicator& comm, LoadedModel& model, std::span<const std::string> texts, const std::string& prompt,
                             const char* what) {
  require_same_texts(comm, std::vector<std::string_view>(texts.begin(), texts.end()), what);
  const int64_t n = std::ssize(texts), blocks = (n + block_texts - 1) / block_texts, width = model.embedder().embedding();
  std::vector<int64_t> counts;
  for (int r = 0; r < comm.size(); ++r) {
    const RankRows own = rank_rows(blocks, r, comm.size());
    counts.push_back((std::min(n, own.end * block_texts) - std::min(n, own.begin * block_texts)) * width);
  }
  const RankRows own = rank_rows(blocks, comm.rank(), comm.size());
  std::vector<float> share(static_cast<size_t>(counts[static_cast<size_t>(comm.rank())]));
  Progress progress(what, std::ssize(share) / width, comm.rank() == 0);
  size_t at = 0;
  for (int64_t b = own.begin; b < own.end; ++b) {
    const auto begin = static_cast<size_t>(b * block_texts);
    const auto block = texts.subspan(begin, std::min(static_cast<size_t>(block_texts), texts.size() - begin));
    const size_t size = block.size() * static_cast<size_t>(width);
    model.embedder().embed(model.exec(), std::vector<std::string_view>(block.begin(), block.end()), prompt,
                           std::span(share).subspan(at, size));
    at += size;
    progress.show(static_cast<int64_t>(at) / width, {}, Progress::Plain::skip);
  }
  progress.clear();
  std::vector<float> all = gather_values(comm, std::span<const float>(share), counts);
  require_finite_rows(std::span<const float>(all), width, what);
  return all;
}

/// Throws Error (usage, F12) on all ranks where their labels differ. Collective.
template <class Label>
void require_same_labels(Communicator& comm, const std::vector<Label>& labels) {
  const std::string_view bytes(reinterpret_cast<const char*>(labels.data()), labels.size() * sizeof(Label));
  require_same_texts(comm, std::span(&bytes, 1), "labels");
}

std::span<const float> row(const std::vector<float>& vectors, int64_t i, int64_t width) {
  return std::span(vectors).subspan(static_cast<size_t>(i * width), static_cast<size_t>(width));
}

/// Scores by the names that MTEB gives them; thresholds it does not write.
using NamedScores = std::vector<std::pair<std::string, double>>;
NamedScores named(const std::string& kind, const BinaryScores& s) {
  return {{kind + "_ap", s.average_precision},
          {kind + "_accuracy", s.accuracy},
          {kind + "_accuracy_threshold", s.accuracy_threshold},
          {kind + "_f1", s.f1},
          {kind + "_f1_threshold", s.f1_threshold},
          {kind + "_precision", s.precision},
          {kind + "_recall", s.recall}};
}

/// Each score of `most` becomes that of `scores` where that is larger.
void raise(BinaryScores& most, const BinaryScores& scores) {
  most.average_precision = std::max(most.average_precision, scores.average_precision);
  most.accuracy = std::max(most.accuracy, scores.accuracy);
  most.f1 = std::max(most.f1, scores.f1);
  most.precision = std::max(most.precision, scores.precision);
  most.recall = std::max(most.recall, scores.recall);
}

NamedScores named(const ClassScores& s) {
  return {{"accuracy", s.accuracy},
          {"f1", s.f1},
          {"f1_weighted", s.f1_weighted},
          {"precision", s.precision},
          {"precision_weighted", s.precision_weighted},
          {"recall", s.recall},
          {"recall_weighted", s.recall_weighted},
          {"ap", s.average_precision},
          {"ap_weighted", s.average_precision}};
}

/// What a classifier that has learned from rows `train` predicts of rows `test`.
std::vector<int64_t> learn_and_predict(std::span<const double> train, std::span<const int64_t> labels, const std::vector<float>& test,
                                       int64_t width, int threads) {
  const LogisticModel model = fit_logistic({train, width}, labels, {.threads = threads});
  std::vector<int64_t> predicted;
  std::vector<double> block;
  const size_t step = static_cast<size_t>(predicted_rows * width);
  for (size_t begin = 0; begin < test.size(); begin += step) {
    const auto rows = std::span(test).subspan(begin, std::min(step, test.size() - begin));
    block.assign(rows.begin(), rows.end());
    std::ranges::copy(predict(model, {block, width}, threads), std::back_inserter(predicted));
  }
  return predicted;
}

double mean(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double deviation(std::span<const double> values) {
  const double centre = mean(values);
  double sum = 0;
  for (const double v : values) sum += (v - centre) * (v - centre);
  return std::sqrt(sum / static_cast<double>(values.size()));
}

}  // namespace

TaskResult evaluate_pair_classification(Communicator& comm, LoadedModel& model, const LabelledPairs& pairs, const std::string& prompt) {
  const double start_s = now_s();
  const int64_t n = std::ssize(pairs.labels), width = model.embedder().embedding();
  require_same_labels(comm, pairs.labels);
  const std::vector<float> first = embed_all(comm, model, pairs.first, prompt, "sentences 1");
  const std::vector<float> second = embed_all(comm, model, pairs.second, prompt, "sentences 2");
  std::vector<double> cosine, dot, manhattan, euclidean;
  for (int64_t i = 0; i < n; ++i) {
    const Nearness near = nearness(row(first, i, width), row(second, i, width));
    cosine.push_back(near.cosine);
    dot.push_back(near.dot);
    manhattan.push_back(near.manhattan);
    euclidean.push_back(near.euclidean);
  }
  if (std::ranges::min(cosine) == std::ranges::max(cosine))
    throw Error(ExitCode::numerical, "F44", cat("the cosine of all ", n, " pairs is ", cosine[0], ": no threshold divides them"),
                "the model tells no texts apart; evaluate an earlier checkpoint");
  struct Kind {
    const char* name;
    const std::vector<double>& scores;
    Nearer nearer;
  };
  const Kind kinds[] = {{"cosine", cosine, Nearer::higher},
                        {"dot", dot, Nearer::higher},
                        {"manhattan", manhattan, Nearer::lower},
                        {"euclidean", euclidean, Nearer::lower},
                        {"similarity", model.folder().similarity == Similarity::dot ? dot : cosine, Nearer::higher}};
  TaskResult result;
  BinaryScores most;
  for (const Kind& kind : kinds) {
    const BinaryScores scores = binary_scores(kind.scores, pairs.labels, kind.nearer);
    std::ranges::copy(named(kind.name, scores), std::back_inserter(&kind == kinds ? result.scores : result.details));
    raise(most, scores);
  }
  const NamedScores largest = {{"max_ap", most.average_precision}, {"max_accuracy", most.accuracy}, {"max_f1", most.f1}};
  result.scores.insert(result.scores.end(), largest.begin(), largest.end());
  result.details.insert(result.details.end(), {{"max_precision", most.precision}, {"max_recall", most.recall}});
  result.main_score = "max_ap";
  result.unit = "pairs";
  result.count = n;
  result.seconds = now_s() - start_s;
  return result;
}

TaskResult evaluate_classification(Communicator& comm, LoadedModel& model, const ClassificationSet& set,
                                   const ClassificationOptions& options, const std::string& prompt) {
  const double start_s = now_s();
  const int64_t width = model.embedder().embedding();
  require_same_labels(comm, set.train.labels);
  require_same_labels(comm, set.test.labels);
  const auto samples = few_shot_samples(set.train.labels, options.samples_per_label, options.experiments, options.seed);
  std::vector<int64_t> used;  // rows of any sample
  for (const auto& sample : samples) used.insert(used.end(), sample.begin(), sample.end());
  std::ranges::sort(used);
  used.erase(std::unique(used.begin(), used.end()), used.end());
  std::vector<std::string> texts;
  for (const int64_t i : used) texts.push_back(set.train.texts[static_cast<size_t>(i)]);
  const std::vector<float> train = embed_all(comm, model, texts, prompt, "texts to learn from");
  const std::vector<float> test = embed_all(comm, model, set.test.texts, prompt, "texts to classify");

  std::vector<double> own;  // scores of this rank's experiments
  const RankRows mine = rank_rows(options.experiments, comm.rank(), comm.size());
  for (int64_t e = mine.begin; e < mine.end; ++e) {
    std::vector<double> rows;
    std::vector<int64_t> labels;
    for (const int64_t i : samples[static_cast<size_t>(e)]) {
      std::ranges::copy(row(train, std::ranges::lower_bound(used, i) - used.begin(), width), std::back_inserter(rows));
      labels.push_back(set.train.labels[static_cast<size_t>(i)]);
    }
    const std::vector<int64_t> predicted = learn_and_predict(rows, labels, test, width, model.exec().backend.threads());
    for (const auto& [name, value] : named(class_scores(set.test.labels, predicted))) own.push_back(value);
  }
  const std::vector<double> values = gather_values(comm, std::span<const double>(own));

  TaskResult result;
  result.scores = named(ClassScores{});
  for (size_t s = 0; s < result.scores.size(); ++s) {
    std::vector<double> of_experiments;
    for (size_t at = s; at < values.size(); at += result.scores.size()) of_experiments.push_back(values[at]);
    result.scores[s].second = mean(of_experiments);
    result.experiments.resize(of_experiments.size());
    for (size_t e = 0; e < of_experiments.size(); ++e) result.experiments[e].emplace_back(result.scores[s].first, of_experiments[e]);
  }
  if (std::isnan(result.score("ap"))) std::erase_if(result.scores, [](const auto& score) { return score.first.starts_with("ap"); });
  result.main_score = "accuracy";
  result.unit = "texts";
  result.count = std::ssize(set.test.texts);
  result.seconds = now_s() - start_s;
  return result;
}

TaskResult evaluate_clustering(Communicator& comm, LoadedModel& model, const ClusteringSets& sets, const ClusteringOptions& options,
                               const std::string& prompt) {
  const double start_s = now_s();
  const int64_t n = std::ssize(sets.sets), width = model.embedder().embedding();
  const RankRows mine = rank_rows(n, comm.rank(), comm.size());
  std::vector<int64_t> sizes;
  for (const LabelledTexts& set : sets.sets) sizes.push_back(std::ssize(set.texts));
  require_same_labels(comm, sizes);         // or ranks would meet in different sets
  std::vector<std::vector<float>> vectors;  // of this rank's sets
  for (int64_t i = 0; i < n; ++i) {
    require_same_labels(comm, sets.sets[static_cast<size_t>(i)].labels);
    std::vector<float> of_set = embed_all(comm, model, sets.sets[static_cast<size_t>(i)].texts, prompt, "sentences");
    if (i >= mine.begin && i < mine.end) vectors.push_back(std::move(of_set));
  }
  std::vector<double> own;
  const int threads = model.exec().backend.threads();
  for (int64_t i = mine.begin; i < mine.end; ++i) {
    const std::vector<int64_t>& labels = sets.sets[static_cast<size_t>(i)].labels;
    const int64_t clusters = *std::ranges::max_element(labels) + 1;
    const std::vector<float>& of_set = vectors[static_cast<size_t>(i - mine.begin)];
    const std::vector<double> rows(of_set.begin(), of_set.end());
    const KMeansSettings settings{.batch = options.batch, .seed = options.seed, .threads = threads};
    own.push_back(clusters == 1 ? 1 : v_measure(labels, mini_batch_kmeans({rows, width}, clusters, settings)));
  }
  const std::vector<double> values = gather_values(comm, std::span<const double>(own));
  TaskResult result;
  result.scores = {{"v_measure", mean(values)}, {"v_measure_std", deviation(values)}};
  result.lists = {{"v_measures", values}};
  result.main_score = "v_measure";
  result.unit = "sets";
  result.count = n;
  for (const LabelledTexts& set : sets.sets) result.documents += std::ssize(set.texts);
  result.seconds = now_s() - start_s;
  return result;
}

}  // namespace lodestone
