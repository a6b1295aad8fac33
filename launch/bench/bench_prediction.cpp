#include "launch/bench/bench_prediction.h"

#include <algorithm>
#include <ostream>

#include "core/nn/layout.h"
#include "launch/bench/bench_batch.h"
#include "launch/bench/bench_loss.h"
#include "launch/config/arguments.h"
#include "launch/prediction/counted_step.h"
#include "launch/prediction/recipe_step.h"

namespace lodestone {

namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t most_ranks = 65536;

struct Asked {
  const GpuCeilings& gpu;
  std::vector<PredictedStep> steps;
};

/// What stands behind --model-gpu is a configuration where there is a file among the arguments, else options of a step.
Asked predict_asked(std::span<const std::string> arguments) {
  std::vector<std::string> names(step_option_names().begin(), step_option_names().end());
  names.insert(names.end(), {"--model-gpu", "--ranks"});
  const Options given(arguments, "bench", names);
  const GpuCeilings& gpu = gpu_ceilings_of(given.text("--model-gpu", ""));
  if (given.positional().empty()) {
    const auto ranks = static_cast<int>(given.integer("--ranks", 1, 1, most_ranks));
    const BenchOptions options = read_step_options(given);
    require_ranks_for_batch(options.pairs, ranks);
    return {gpu, {predict_bench(options, gpu, ranks)}};
  }
  for (const std::string& name : step_option_names())
    if (name != "--cuda-graphs" && given.has(name)) given.refuse(cat(name, " is not for a configuration: give key.path=value"));
  const ConfigArguments files = split_config_arguments(given.positional(), "bench");
  RunConfig config = read_run_config(files.files, files.overrides);
  config.cuda_graphs = config.cuda_graphs || read_launches(given) == Launches::graphs;  // the key is refused where there is no GPU
  const int64_t published = std::max<int64_t>(1, config.published.devices);
  return {gpu, predict_recipe(config, gpu, static_cast<int>(given.integer("--ranks", published, 1, most_ranks)))};
}

}  // namespace

PredictedStep predict_bench(const BenchOptions& o, const GpuCeilings& gpu, int ranks) {
  const EmbedderConfig model = bench_config(o);
  CountedStep counted(compute_dtype(o), ranks, o.launches);
  ParamStore params(counted.backend().memory(), embedder_layout(model), compute_dtype(o));
  const Encoder encoder(model, params);
  const std::unique_ptr<Loss> loss = make_loss(bench_loss(o.loss).config(model.embedding()), model.embedding());
  EmbeddingObjective objective(encoder, *loss, counted.ranks(), objective_options(o));
  const Batch all = bench_batch(o.lengths, o.pairs, o.group, {});
  counted.run(objective, bench_batch(o.lengths, o.pairs, o.group, {.rank = 0, .ranks = ranks}), 1, params, false);
  return {
      {.name = cat(o.model, ", texts ", o.lengths, ", ", o.precision, ", ", o.loss, o.launches == Launches::graphs ? ", CUDA graphs" : ""),
       .ranks = ranks,
       .rows = o.pairs,
       .tokens = static_cast<double>(all.ids.size()),
       .flops = encoder_flops(model.encoder, all.tokens()),
       .memory_bytes = counted.memory_bytes(),
       .chunk_tokens = o.chunk_tokens},
      predict(counted.work(), gpu, ranks),
      gpu};
}

Json prediction_beside(const BenchOptions& options, int ranks, const std::string& backend_description, double measured_s) {
  const GpuCeilings* const gpu = gpu_ceilings_in(backend_description);
  if (gpu == nullptr) return nullptr;
  const PredictedStep step = predict_bench(options, *gpu, ranks);
  return {{"label", "PREDICTED"},
          {"gpu", gpu->name},
          {"predicted_step_s", step.prediction.step_s},
          {"predicted_share_of_ceiling", step.share_of_ceiling()},
          {"measured_step_s", measured_s},
          {"measured_through_predicted", measured_s / step.prediction.step_s}};
}

bool asks_for_prediction(std::span<const std::string> arguments) { return std::ranges::find(arguments, "--model-gpu") != arguments.end(); }

void print_predictions(std::span<const std::string> arguments, std::ostream& out) {
  std::vector<std::string> others;
  std::ranges::remove_copy(arguments, std::back_inserter(others), "--json");
  const Asked asked = predict_asked(others);
  if (others.size() == arguments.size()) {
    for (const PredictedStep& step : asked.steps) print_predicted(out, step);
    return;
  }
  Json steps = Json::array();
  for (const PredictedStep& step : asked.steps) steps.push_back(predicted_json(step));
  out << Json{{"label", "PREDICTED"}, {"gpu", asked.gpu.name}, {"steps", steps}}.dump(2) << '\n';
}

}  // namespace lodestone
