// Reads and writes the folder of a cross-encoder: BERT with a pooler and a classifier of one score.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/nn/reranker.h"
#include "data/models/model_export.h"

namespace lodestone {

/// What a model folder says of a reranker, or of an encoder that a reranker may start from.
struct RerankerFolder {
  std::filesystem::path path;
  RerankerConfig config;
  bool has_classifier = false;   // its weights hold a classifier of one score
  int64_t max_seq_length = 512;  // tokens of a pair with its special tokens; never above encoder.longest_text()
  std::string config_json;       // as it was read; kept keys go into an export
};

/// Whether config.json describes a BertForSequenceClassification of one label: what CrossEncoder(path) loads.
bool is_reranker_folder(const std::filesystem::path& folder);

/// Reads config.json and tokenizer_config.json of a cross-encoder or of any BERT encoder. Throws Error (checkpoint, "model" or
/// "F42") naming file and key, as read_model_folder() does; also when every text would get a prompt.
RerankerFolder read_reranker_folder(const std::filesystem::path& folder);

/// Sets the masters of `params` (laid out by reranker_layout) from model.safetensors. Returns the parameters that the folder does
/// not have and that were left as they are: the classifier, and perhaps the pooler, of a folder without a classifier. Throws
/// Error (checkpoint, "F42") naming tensor, both shapes and file on anything else missing or left over.
/// Call params.refresh() afterwards.
std::vector<std::string> load_weights(const RerankerFolder& folder, ParamStore& params);

/// Writes `path` so that AutoModelForSequenceClassification and sentence-transformers' CrossEncoder load it: config.json with one
/// label, model.safetensors (f32; bert.* and classifier.*), the tokenizer's files of `source`, README.md. Published by one rename;
/// throws Error (storage) and leaves nothing behind when anything fails.
void write_reranker_folder(const std::filesystem::path& path, const RerankerFolder& model, const ParamStore& params,
                           const std::filesystem::path& source, const ModelCard& card, IfExists if_exists);

/// The same with weights that somebody else brings.
void write_reranker_folder(const std::filesystem::path& path, const RerankerFolder& model, const WeightsWriter& weights,
                           const std::filesystem::path& source, const ModelCard& card, IfExists if_exists);

/// Keeps in `to` what a later export needs of the starting model besides weights: config.json of a reranker and the tokenizer.
/// is_reranker_folder(to) then holds. Fails now rather than at the export unless every way to read the kept tokenizer gives `tokenizer`.
void keep_reranker_source(const RerankerFolder& model, const Tokenizer& tokenizer, const std::filesystem::path& to);

/// The README.md text of a reranker.
std::string model_card(const RerankerFolder& model, const ModelCard& card);

}  // namespace lodestone
