#include "launch/inference/model_options.h"

#include "launch/console/cores.h"
#include "launch/console/gpus.h"

namespace lodestone {

namespace {

/// The prompt given, else the first of these names that the folder has, else its default prompt.
std::string choose_prompt(const Options& options, const char* option, const LoadedModel& model, std::span<const char* const> names) {
  if (options.has(option)) return options.text(option, "");
  for (const char* name : names)
    if (model.folder().prompts.contains(name)) return model.prompt(name);
  return model.prompt("");
}

}  // namespace

std::vector<std::string> prompt_option_names() { return {"--query-prompt", "--passage-prompt"}; }

Prompts choose_prompts(const Options& options, const LoadedModel& model) {
  const char* const query_names[] = {"query"};
  const char* const passage_names[] = {"document", "passage", "corpus"};  // in the order of sentence-transformers
  return {choose_prompt(options, "--query-prompt", model, query_names), choose_prompt(options, "--passage-prompt", model, passage_names)};
}

std::vector<std::string> model_option_names() {
  return {"--device", "--attention", "--threads", "--max-len", "--precision", "--chunk-tokens", "--dimensions"};
}

LoadedModel::Options model_options(const Options& options) {
  const std::string precision = options.text("--precision", "f32");
  LoadedModel::Options out{.max_length = options.integer("--max-len", 0, 3),
                           .chunk_tokens = options.integer("--chunk-tokens", 2048, 1),
                           .dimensions = options.integer("--dimensions", 0, 1)};
  if (precision == "bf16")
    out.compute = DType::bf16;
  else if (precision == "f64")
    out.compute = DType::f64;
  else if (precision != "f32")
    options.refuse("--precision is " + precision + ", not f32, bf16 or f64");
  return out;
}

std::unique_ptr<Backend> open_backend(const Options& options, const World& world) {
  const BackendKind kind = backend_for(options.choice("--device", DeviceChoice::automatic));
  const auto attention = options.choice("--attention", AttentionChoice::automatic);
  if (attention == AttentionChoice::cudnn && kind != BackendKind::cuda)
    options.refuse("--attention cudnn is for GPUs, and this computes on the CPU");
  return make_backend({.kind = kind,
                       .threads = choose_threads(world, options.integer("--threads", 0, 1)).threads,
                       .gpu = gpu_of_rank(world, kind),
                       .attention = attention});
}

}  // namespace lodestone
