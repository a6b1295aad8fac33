#include "launch/weights/example_losses.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "losses/info_nce.h"

namespace lodestone {

namespace {

constexpr double loss_temperature = 0.05;

std::vector<float> embed(LoadedModel& model, std::span<const std::string> texts, const std::string& prompt) {
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  std::vector<float> vectors(texts.size() * static_cast<size_t>(model.embedder().embedding()));
  model.embedder().embed(model.exec(), views, prompt, vectors);
  return vectors;
}

}  // namespace

Examples read_examples(const std::filesystem::path& file, const InputOptions& options, int64_t negatives) {
  Examples examples{.queries = {}, .passages = {}, .group = 1 + negatives};
  const std::vector<std::filesystem::path> inputs{file};
  std::set<std::string> ignored;
  for (const WorkUnit& unit : work_units(inputs, options)) {
    const auto reader = open_unit(unit, options);
    for (Record record; reader->next(record);) {
      if (record.positives.empty() || std::ssize(record.negatives) < negatives)
        throw Error(ExitCode::data, "F30",
                    cat("an example with ", record.positives.size(), " positives and ", record.negatives.size(),
                        " negatives, of which 1 and ", negatives, " are needed"),
                    "give each example that many, or a smaller --negatives")
            .at("file", file.string())
            .at("line", reader->place().line);
      examples.queries.emplace_back(record.query);
      examples.passages.emplace_back(record.positives.front());
      for (int64_t i = 0; i < negatives; ++i) examples.passages.emplace_back(record.negatives[static_cast<size_t>(i)]);
    }
    ignored.insert(reader->ignored_fields().begin(), reader->ignored_fields().end());
  }
  examples.ignored.assign(ignored.begin(), ignored.end());
  if (examples.queries.empty())
    throw Error(ExitCode::data, "F32", "the file holds no example", "give rows with query, pos and neg").at("file", file.string());
  return examples;
}

double cocktail_loss(std::span<const float> queries, std::span<const float> passages, int64_t group, int64_t embedding, int64_t batch) {
  const std::vector<double> q(queries.begin(), queries.end()), p(passages.begin(), passages.end());
  const auto row = static_cast<size_t>(embedding), rows = static_cast<size_t>(group) * row;  // values of a query, and of its passages
  const size_t n = q.size() / row;
  double sum = 0;
  int64_t batches = 0;
  for (size_t begin = 0; begin < n; begin += static_cast<size_t>(batch), ++batches) {
    const size_t count = std::min(static_cast<size_t>(batch), n - begin);
    std::vector<double> d_queries(count * row), d_passages(count * rows);
    InfoNceInput in;
    in.queries = std::span(q).subspan(begin * row, d_queries.size());
    in.passages = std::span(p).subspan(begin * rows, d_passages.size());
    in.embedding = in.dimensions = embedding;
    in.group = group;
    in.temperature = loss_temperature;
    sum += info_nce(in, d_queries, d_passages);
  }
  return sum / static_cast<double>(batches);
}

double example_loss(LoadedModel& model, const Examples& examples, const Prompts& prompts, int64_t batch) {
  const std::vector<float> queries = embed(model, examples.queries, prompts.query);
  const std::vector<float> passages = embed(model, examples.passages, prompts.passage);
  return cocktail_loss(queries, passages, examples.group, model.embedder().embedding(), batch);
}

std::vector<double> softmax_weights(std::span<const double> losses, double temperature) {
  for (const double loss : losses)
    if (!std::isfinite(loss))
      throw Error(ExitCode::numerical, "F44", cat("a model's loss on the examples is ", loss), "leave out the model that has diverged");
  const double least = *std::min_element(losses.begin(), losses.end());
  std::vector<double> weights;
  for (const double loss : losses) weights.push_back(std::exp((least - loss) / temperature));
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) weight /= sum;
  return weights;
}

}  // namespace lodestone
