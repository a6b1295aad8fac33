// Writes a model folder that sentence-transformers and transformers load as their own.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "data/files/durable.h"
#include "data/models/model_folder.h"
#include "data/text/tokenizer.h"

namespace lodestone {

/// What the model card (README.md) says; empty parts are left out.
struct ModelCard {
  std::string name;        // title
  std::string base_model;  // where the starting weights came from
  std::string loss;        // e.g. "InfoNCE, temperature 0.05, negatives across 2 ranks"
  int64_t training_pairs = 0;
  int64_t steps = 0;
  std::vector<std::pair<std::string, std::string>> hyper_parameters;  // name, value
  struct Result {
    std::string dataset, metric;
    double before, after;
  };
  std::vector<Result> results;                         // before < 0: not measured
  std::vector<std::pair<std::string, double>> merged;  // models that its weights are the sum of, and by what
  std::string program;                                 // "Lodestone 0.1.0"
};

/// The README.md text: front matter that model hubs read, usage, architecture, results, training.
std::string model_card(const ModelFolder& model, const ModelCard& card);

/// Writes `path`: config.json, model.safetensors (f32), the tokenizer's files and pooler of `source`, modules.json,
/// 1_Pooling, 2_Dense, N_Normalize with the key names that every version of sentence-transformers reads, prompts, README.md.
/// Of a RetroMAE's parameters the decoder layer is left out; the masked-language-model head is kept as transformers names it.
/// All is written into a folder beside `path` (data/files/temporary.h), brought to the device, and published by one rename: there is never
/// half a folder. Throws Error (storage) and removes the temporary folder when anything fails.
void write_model_folder(const std::filesystem::path& path, const ModelFolder& model, const ParamStore& params,
                        const std::filesystem::path& source, const ModelCard& card, IfExists if_exists);

/// Who writes a folder's weights when all else is there.
struct WeightsWriter {
  std::string torch_dtype;                                         // what config.json calls their numbers: "float32"
  std::function<void(const std::filesystem::path& folder)> write;  // the files of embedder_files() or reranker_files() (model_files.h)
};
/// The same with weights that somebody else brings, and more files of theirs if they wish.
void write_model_folder(const std::filesystem::path& path, const ModelFolder& model, const WeightsWriter& weights,
                        const std::filesystem::path& source, const ModelCard& card, IfExists if_exists);

/// Keeps in `to` what a later export needs of the starting model besides the encoder's weights: its JSON files, tokenizer,
/// module configurations and pooler. read_model_folder(to) then says the same as read_model_folder(model.path). Fails now rather than at
/// the export unless every way to read the kept tokenizer gives `tokenizer`, that of model.path.
void keep_model_source(const ModelFolder& model, const Tokenizer& tokenizer, const std::filesystem::path& to);

/// The same for a model that starts from random weights: config.json and the tokenizer.
void make_model_source(const ModelFolder& model, const Tokenizer& tokenizer, const std::filesystem::path& to);

}  // namespace lodestone
