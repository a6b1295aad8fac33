// lodestone merge: several models or checkpoints in, the weighted sum of their parameters out as a model folder.
#include <charconv>
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <numeric>

#include "data/files/strict_json.h"
#include "launch/command.h"
#include "launch/config/input_options.h"
#include "launch/console/log.h"
#include "launch/console/version.h"
#include "launch/inference/model_options.h"
#include "launch/networks/verify_export.h"
#include "launch/weights/example_losses.h"
#include "launch/weights/heldout_score.h"
#include "launch/weights/mixture.h"
#include "launch/weights/soup.h"

namespace lodestone {

const char* const merge_usage =
    R"(usage: lodestone merge MODEL MODEL ... --output FOLDER --weights W,W,... | --examples FILE | --soup NAME [options]
       lodestone merge RUN ... --checkpoints N --output FOLDER ... (the same)

Writes the model folder whose parameters are a weighted sum of those of the models, tensor by tensor, with configuration, tokenizer and
prompts of the first one and merge.json, which says what went in. A MODEL is a model folder (an embedder's, or all of rerankers), a
checkpoint (RUN/checkpoint-N) or a run folder (its newest undamaged checkpoint). All must have one architecture and one tokenizer.
FOLDER must not exist.

  --weights W,W,...      one weight a model, as LM-Cocktail's mix_models; their sum must be 1 (within 0.001), single ones may be negative
  --examples FILE        rows with query, pos and neg: weights are softmax(-loss / T) of each model's loss on them, as LM-Cocktail's
                         mix_models_with_data
  --soup NAME            uniform: the mean; greedy: by a held-out score, the best model first, then each that makes the mean no worse
  --checkpoints N        of each RUN the newest N undamaged checkpoints are models
  --output FOLDER        the new model folder

Of --examples:
  --temperature T        of the softmax (5)
  --negatives N          negatives of each row that count, its first ones (7)
  --batch-size N         examples whose passages meet in one softmax; the loss is the mean over such batches (2)
Of --soup greedy, the main score of lodestone eval on one of:
  --beir FOLDER          with --split NAME (test)
  --pairs FILE
  --rerank FILE
Of both:
  --format NAME          of FILE: jsonl, csv or tsv; auto goes by the name (auto)
  --columns A,B,...      column names of a table
  --header NAME          with --columns: yes when its first line is a header, to be passed over; no when it is a row
  --query-prompt TEXT    put before every query; without it the first model's prompt "query", else its default prompt
  --passage-prompt TEXT  put before every document; likewise "document", "passage" or "corpus"
  --max-len N            tokens of a text (what the first model's folder says)
  --precision NAME       f32, bf16 or f64 (f32)
  --device NAME          where to compute: auto (the CPU), cpu or cuda (auto)
  --attention NAME       on a GPU: auto (cuDNN in bf16, where it is there), own or cudnn (auto)
  --threads N            threads of each rank (the cores it may use)
  --chunk-tokens N       tokens that pass the encoder at once (2048)
  --dimensions N         leading components of a vector that count (all)
)";

namespace {

constexpr double sum_tolerance = 1e-3;  // of mix_models

/// Weights, and where they come from.
struct Decision {
  std::string method;
  std::vector<double> weights;
  std::vector<double> losses = {}, scores = {};  // one a model, or none
  OrderedJson more = OrderedJson::object();      // for merge.json
};

std::optional<double> number(std::string_view text) {
  double value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::vector<double> read_weights(const Options& options) {
  std::vector<double> weights;
  std::string rest = options.text("--weights", "") + ",";
  for (size_t comma = 0; (comma = rest.find(',')) != std::string::npos; rest.erase(0, comma + 1)) {
    const std::optional<double> weight = number(std::string_view(rest).substr(0, comma));
    if (!weight) options.refuse(cat("--weights has \"", printable(rest.substr(0, comma)), "\", which is not a finite number"));
    weights.push_back(*weight);
  }
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  if (!(std::fabs(sum - 1) <= sum_tolerance))
    options.refuse(cat("--weights sum to ", sum, ", not to 1: all tensors would be scaled by that"));
  return weights;
}

void require_count(const Options& options, size_t weights, size_t models) {
  if (weights != models) options.refuse(cat("--weights has ", weights, " weights for ", models, " models"));
}

/// Refuses options that belong to another way of choosing weights.
void refuse_strangers(const Options& options) {
  if (options.has("--weights") + options.has("--examples") + options.has("--soup") != 1)
    options.refuse("give one of --weights, --examples and --soup");
  if (!options.has("--examples"))
    for (const char* name : {"--temperature", "--negatives", "--batch-size"})
      if (options.has(name)) options.refuse(cat(name, " is for --examples"));
  if (options.choice("--soup", Soup::uniform) != Soup::greedy)
    for (const std::string& name : HeldOutData::option_names())
      if (options.has(name)) options.refuse(cat(name, " is for --soup greedy"));
  if (!options.has("--output")) options.refuse("--output is missing");
}

/// That the folder can be made, before hours go into what stands in it.
void require_place(const std::filesystem::path& output) {
  if (path_exists(output))
    throw Error(ExitCode::usage, "exists", "the output folder exists already", "choose another name or remove it")
        .at("file", output.string());
  check_writable(output.parent_path());
}

std::vector<FoundWeights> find_all(const Options& options, std::vector<std::string>& messages) {
  const int64_t count = options.integer("--checkpoints", 0, 1);
  std::vector<FoundWeights> found;
  for (const std::string& name : options.positional()) {
    if (count == 0) {
      found.push_back(find_weights(name, {}, messages));
      continue;
    }
    for (FoundWeights& one : find_newest_weights(name, count, messages)) found.push_back(std::move(one));
  }
  if (found.size() < 2) options.refuse("give two models or more, or --checkpoints 2 or more of one run");
  return found;
}

FillParams fill_with(const Mixture& mixture, std::vector<double> weights) {
  return [&mixture, weights = std::move(weights)](ParamStore& host) { mixture.fill(weights, host); };
}

/// One of the models: a mixture in which all others count nothing.
std::vector<double> alone(const Mixture& mixture, size_t model) { return mean_weights(mixture.size(), std::span(&model, 1)); }

std::string name_of_model(const Mixture& mixture, size_t m) { return printable(mixture.model(m).found().path.string()); }

Decision by_examples(World& world, const Options& options, const InputOptions& input, const Mixture& mixture, Backend& backend) {
  const std::optional<double> temperature = number(options.text("--temperature", "5"));
  if (!temperature || *temperature <= 0) options.refuse("--temperature must be a number above 0");
  const int64_t negatives = options.integer("--negatives", 7, 0), batch = options.integer("--batch-size", 2, 1);
  const std::string file = options.text("--examples", "");
  const Examples examples = read_examples(file, input, negatives);
  if (world.rank() == 0 && !examples.ignored.empty()) std::puts(describe_ignored(examples.ignored).c_str());
  if (!mixture.embedder()) options.refuse("these are rerankers: mix them by --weights or --soup");
  LoadedModel model(*mixture.embedder(), fill_with(mixture, alone(mixture, 0)), model_options(options), backend);
  const Prompts prompts = choose_prompts(options, model);
  Decision d{.method = "examples", .weights = {}};
  for (size_t m = 0; m < mixture.size(); ++m) {
    if (m > 0) model.set_weights(fill_with(mixture, alone(mixture, m)));
    d.losses.push_back(example_loss(model, examples, prompts, batch));
  }
  d.weights = softmax_weights(d.losses, *temperature);
  d.more = {{"temperature", *temperature},
            {"examples", examples.queries.size()},
            {"examples_file", file},
            {"negatives", negatives},
            {"batch_size", batch}};
  return d;
}

/// How good a mixture of these weights is.
using ScoreWeights = std::function<HeldOutData::Score(const std::vector<double>& weights)>;

ScoreWeights score_with(World& world, const Options& options, const HeldOutData& data, const Mixture& mixture, Backend& backend) {
  const FillParams first = fill_with(mixture, alone(mixture, 0));
  const auto score_by = [&](auto model, Prompts prompts) -> ScoreWeights {
    return [&world, &data, &mixture, model, prompts](const std::vector<double>& weights) {
      model->set_weights(fill_with(mixture, weights));
      model->require_same_on(world.comm());
      return data.of(world.comm(), *model, prompts);
    };
  };
  if (mixture.reranker())
    return score_by(std::make_shared<LoadedReranker>(*mixture.reranker(), first, model_options(options), backend),
                    {options.text("--query-prompt", ""), options.text("--passage-prompt", "")});
  const auto model = std::make_shared<LoadedModel>(*mixture.embedder(), first, model_options(options), backend);
  return score_by(model, choose_prompts(options, *model));
}

Decision greedy(World& world, const Options& options, const InputOptions& input, const Mixture& mixture, Backend& backend) {
  const HeldOutData data(options, input);
  const ScoreWeights score_of = score_with(world, options, data, mixture, backend);
  std::string metric;
  const auto score = [&](const std::vector<double>& weights, const std::string& what) {
    const HeldOutData::Score found = score_of(weights);
    metric = found.name;
    if (world.rank() == 0) std::printf("%s %.5f  %s\n", metric.c_str(), found.value, what.c_str());
    std::fflush(stdout);
    return found.value;
  };
  Decision d{.method = "greedy soup", .weights = {}};
  for (size_t m = 0; m < mixture.size(); ++m) d.scores.push_back(score(alone(mixture, m), name_of_model(mixture, m)));
  const GreedySoup soup = greedy_soup(d.scores, [&](std::span<const size_t> tried) {
    return score(mean_weights(mixture.size(), tried), cat("mean of ", tried.size(), ", with ", name_of_model(mixture, tried.back())));
  });
  d.weights = mean_weights(mixture.size(), soup.chosen);
  d.more = {{"metric", metric}, {"score", soup.score}};
  return d;
}

Decision decide(World& world, const Options& options, const Mixture& mixture, Backend& backend) {
  InputOptions input;
  read_input_options(options, input);
  if (options.has("--examples")) return by_examples(world, options, input, mixture, backend);
  if (options.has("--weights")) return {.method = "weights", .weights = read_weights(options)};
  if (options.choice("--soup", Soup::uniform) == Soup::greedy) return greedy(world, options, input, mixture, backend);
  return {.method = "uniform soup", .weights = mean_weights(mixture.size())};
}

void print(const Mixture& mixture, const Decision& d) {
  for (size_t m = 0; m < mixture.size(); ++m) {
    std::printf("  %9.6f", d.weights[m]);
    if (!d.losses.empty()) std::printf("  loss %.6f", d.losses[m]);
    if (!d.scores.empty()) std::printf("  score %.5f", d.scores[m]);
    std::printf("  %s\n", name_of_model(mixture, m).c_str());
  }
}

/// "RUN/model" or "RUN/checkpoint-8": a card is read elsewhere, where whole paths say nothing.
std::string short_name(const std::filesystem::path& path) { return printable((path.parent_path().filename() / path.filename()).string()); }

/// The text of merge.json.
std::string report(const Mixture& mixture, const Decision& d) {
  OrderedJson json{{"program", cat("Lodestone ", version)}, {"method", d.method}};
  for (const auto& [key, value] : d.more.items()) json[key] = value;
  json["models"] = OrderedJson::array();
  for (size_t m = 0; m < mixture.size(); ++m) {
    const WeightReader& model = mixture.model(m);
    OrderedJson one{{"path", name_of_model(mixture, m)}, {"what", model.found().what}, {"weight", d.weights[m]}};
    if (!d.losses.empty()) one["loss"] = d.losses[m];
    if (!d.scores.empty()) one["score"] = d.scores[m];
    for (const auto& [name, hash] : model.hashes()) one["xxh3"][name] = hash;
    json["models"].push_back(std::move(one));
  }
  return json.dump(2) + "\n";
}

void write(const Options& options, const Mixture& mixture, const Decision& d, Backend& backend) {
  const std::filesystem::path output = folder_name(options.text("--output", ""));
  ModelCard card;
  card.name = output.filename().string();
  card.program = cat("Lodestone ", version);
  for (size_t m = 0; m < mixture.size(); ++m)
    if (d.weights[m] != 0) card.merged.emplace_back(short_name(mixture.model(m).found().path), d.weights[m]);
  mixture.write(output, d.weights, card, report(mixture, d));
  require_usable(output, mixture.tokenizer(), "merge models that are nearer to each other, or leave one out", backend);
  std::printf("merged %zu models by %s into %s\n", mixture.size(), d.method.c_str(), printable(output.string()).c_str());
}

}  // namespace

int run_merge(World& world, std::span<const std::string> arguments) {
  world.watchdog().set_limit(World::unequal_work_limit_s);
  std::vector<std::string> names{"--weights", "--examples",    "--soup",      "--checkpoints",
                                 "--output",  "--temperature", "--negatives", "--batch-size"};
  for (const auto& more : {model_option_names(), HeldOutData::option_names(), prompt_option_names(), input_option_names()})
    names.insert(names.end(), more.begin(), more.end());
  const Options options(arguments, "merge", names);
  refuse_strangers(options);
  if (world.rank() == 0) require_place(folder_name(options.text("--output", "")));
  if (options.has("--weights") && !options.has("--checkpoints"))
    require_count(options, read_weights(options).size(), options.positional().size());
  std::vector<std::string> messages;
  const Mixture mixture(find_all(options, messages));
  if (world.rank() == 0) print_warnings(messages);
  if (options.has("--weights")) require_count(options, read_weights(options).size(), mixture.size());
  const std::unique_ptr<Backend> backend = open_backend(options, world);
  const Decision decision = decide(world, options, mixture, *backend);
  if (world.rank() == 0) {
    print(mixture, decision);
    write(options, mixture, decision, *backend);
  }
  world.comm().barrier();
  return 0;
}

}  // namespace lodestone
