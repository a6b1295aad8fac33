// lodestone export: checkpoint in, verified model folder out.
#include "launch/commands/export.h"

#include <algorithm>
#include <iostream>
#include <optional>

#include "core/nn/retromae.h"
#include "data/checkpoints/checkpoint.h"
#include "data/models/vocabulary_fit.h"
#include "launch/command.h"
#include "launch/config/options.h"
#include "launch/console/log.h"
#include "launch/console/version.h"
#include "launch/inference/model_options.h"
#include "launch/networks/verify_export.h"

namespace lodestone {

namespace fs = std::filesystem;

const char* const export_usage =
    "usage: lodestone export INPUT --output FOLDER [--source MODEL_FOLDER] [--device NAME] [--threads N]\n\n"
    "Writes a model folder that sentence-transformers and transformers load, reloads it, embeds sample texts (a reranker: scores\n"
    "sample pairs) with both and compares. INPUT is a checkpoint (RUN/checkpoint-N), a run folder (its newest undamaged checkpoint is "
    "taken) or a model\n"
    "folder (a plain BERT folder then gets pooling by mean and normalised vectors). Of RetroMAE the encoder is exported, without the\n"
    "decoder. FOLDER must not exist.\n\n"
    "  --source MODEL_FOLDER  takes tokenizer and configuration from here (default: RUN/source, kept by `lodestone train`)\n"
    "  --device NAME          where to compare: auto (the CPU), cpu or cuda (default: auto)\n"
    "  --threads N            threads of the comparison (default: the cores this process may use)\n";

namespace {

constexpr const char* manifest = "manifest.json";

/// "out/" and "./out" name the folder "out".
fs::path folder_name(const fs::path& path) {
  const fs::path normal = fs::absolute(path).lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

struct Weights {
  std::string what;
  fs::path source;
  std::optional<FoundCheckpoint> checkpoint;  // none: the weights are the source's own
};

Weights find_weights(const ExportRequest& request, std::vector<std::string>& messages) {
  const fs::path input = folder_name(request.input);
  Weights w;
  w.source = request.source;
  if (path_exists(input / manifest)) {
    w.checkpoint = FoundCheckpoint{input, verify_checkpoint(input)};
    if (w.source.empty()) w.source = input.parent_path() / "source";
  } else if (path_exists(input / "config.json")) {
    w.what = "model folder";
    if (w.source.empty()) w.source = input;
  } else {
    w.checkpoint = find_newest_verified(input, messages);
    if (w.source.empty()) w.source = input / "source";
  }
  if (w.checkpoint) w.what = cat("checkpoint of step ", w.checkpoint->manifest.step);
  if (w.what.empty())
    throw Error(ExitCode::checkpoint, "missing", "this is neither a checkpoint, nor a run folder with checkpoints, nor a model folder",
                "give RUN/checkpoint-N or RUN")
        .at("file", request.input.string());
  if (!path_exists(w.source / "config.json"))
    throw Error(ExitCode::checkpoint, "missing", "the starting model's files are not beside the checkpoint",
                "give them with --source MODEL_FOLDER")
        .at("file", w.source.string());
  return w;
}

/// On the host, which alone reads them. The masters' dtype and values: those of the checkpoint, or of the folder.
template <class Folder>
ParamStore load_params(const Weights& weights, const Folder& model, ParamLayout layout, const fs::path& input, HostMemory& memory) {
  if (!weights.checkpoint) {
    ParamStore params(memory, std::move(layout), DType::f32);
    Folder from = model;
    from.path = input;
    load_weights(from, params);
    return params;
  }
  const auto& vectors = weights.checkpoint->manifest.vectors;
  const auto stored = vectors.find("params");
  ParamStore params(memory, std::move(layout), stored == vectors.end() ? DType::f32 : stored->second);
  const CheckpointVector wanted{"params", params.masters()};
  load_checkpoint(weights.checkpoint->path, params.layout(), std::span(&wanted, 1));
  return params;
}

/// RetroMAE trains an encoder with pooling by [CLS], and beside it a decoder and a head that are not exported.
bool is_retromae(const Weights& weights) {
  if (!weights.checkpoint) return false;
  const auto& tensors = weights.checkpoint->manifest.tensors;
  return std::any_of(tensors.begin(), tensors.end(), [](const auto& t) { return t.first.starts_with(retromae_decoder_prefix); });
}

ModelCard make_card(const Weights& weights, const ExportRequest& request) {
  ModelCard card;
  card.name = folder_name(request.output).filename().string();
  card.program = cat("Lodestone ", version);
  if (!weights.checkpoint)
    card.base_model = folder_name(request.input).filename().string();
  else
    card.steps = weights.checkpoint->manifest.step;
  return card;
}

void take(std::vector<std::string>& messages, std::vector<std::string> more) {
  std::move(more.begin(), more.end(), std::back_inserter(messages));
}

}  // namespace

ExportResult export_model(const ExportRequest& request, Backend& backend) {
  ExportResult result;
  const Weights weights = find_weights(request, result.messages);
  result.what = weights.what;
  const fs::path input = folder_name(request.input), output = folder_name(request.output);
  const Tokenizer tokenizer = Tokenizer::from_folder(weights.source);
  const ModelCard card = make_card(weights, request);
  HostMemory memory;
  if (is_reranker_folder(weights.source)) {
    const RerankerFolder model = read_reranker_folder(weights.source);
    const ParamStore params = load_params(weights, model, reranker_layout(model.config), input, memory);
    take(result.messages, check_vocabulary(tokenizer, model.config.encoder, weights.source));
    result.largest_difference = export_verified(output, LiveReranker{model, params, tokenizer}, weights.source, card, backend);
  } else {
    ModelFolder model = read_model_folder(weights.source);
    const bool retromae = is_retromae(weights);
    if (retromae) model.config.pooling = Pooling::cls;
    const ParamStore params =
        load_params(weights, model, retromae ? retromae_layout(model.config) : embedder_layout(model.config), input, memory);
    take(result.messages, check_vocabulary(tokenizer, model.config.encoder, weights.source));
    result.largest_difference = export_verified(output, LiveModel{model, params, tokenizer}, weights.source, card, backend);
  }
  return result;
}

int run_export(World& world, std::span<const std::string> arguments) {
  world.watchdog().set_limit(World::unequal_work_limit_s);
  const std::string names[] = {"--output", "--source", "--device", "--threads"};
  const Options options(arguments, "export", names);
  if (options.positional().size() != 1) options.refuse("one checkpoint, run folder or model folder is needed");
  if (!options.has("--output")) options.refuse("--output is missing");
  const std::unique_ptr<Backend> backend = open_backend(options, world);
  if (world.rank() == 0) {
    const ExportRequest request{options.positional()[0], options.text("--output", ""), options.text("--source", "")};
    const ExportResult result = export_model(request, *backend);
    print_warnings(result.messages);
    std::cout << "exported the " << result.what << " to " << printable(request.output.string()) << "; what it gives differs by at most "
              << result.largest_difference << '\n';
  }
  world.comm().barrier();
  return 0;
}

}  // namespace lodestone
