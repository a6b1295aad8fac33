// lodestone export: checkpoint in, verified model folder out.
#include "launch/commands/export.h"

#include <iostream>

#include "core/nn/retromae.h"
#include "data/models/vocabulary_fit.h"
#include "launch/command.h"
#include "launch/config/options.h"
#include "launch/console/log.h"
#include "launch/console/version.h"
#include "launch/inference/model_options.h"
#include "launch/networks/verify_export.h"
#include "launch/weights/found_weights.h"

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

/// On the host, which alone reads them. The masters' dtype and values: those of the checkpoint, or of the folder.
template <class Folder>
ParamStore load_params(const FoundWeights& weights, const Folder& model, ParamLayout layout, const fs::path& input, HostMemory& memory) {
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

ModelCard make_card(const FoundWeights& weights, const ExportRequest& request) {
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
  const FoundWeights weights = find_weights(request.input, request.source, result.messages);
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
