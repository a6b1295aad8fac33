// Reads a Hugging Face or sentence-transformers model folder: what the model is, and its weights.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/nn/encoder.h"
#include "core/params.h"
#include "core/similarity.h"

namespace lodestone {

/// Everything a model folder says besides weights and vocabulary.
struct ModelFolder {
  std::filesystem::path path;
  EmbedderConfig config;
  /// False for a plain Hugging Face folder without modules.json: pooling (mean), head (none) and normalize (yes) are then
  /// defaults that the caller may set; a plain folder may even hold only config.json and a tokenizer.
  bool has_modules = false;
  bool new_head = false;                       // config.head was added by the caller: the folder holds no weights of it
  int64_t max_seq_length = 512;                // tokens of a text, with [CLS] and [SEP]; never above encoder.longest_text()
  std::map<std::string, std::string> prompts;  // name -> text put in front, e.g. "query" -> "query: "
  std::string default_prompt;                  // a name of `prompts`, or empty
  Similarity similarity = Similarity::cosine;
  std::string config_json;  // config.json as it was read; kept keys go into an export

  /// The folder's similarity as that of vectors before the model normalises them: where it does, a cosine.
  Similarity raw_similarity() const { return config.normalize ? Similarity::cosine : similarity; }
};

/// Throws Error (checkpoint, "missing") unless there is a config.json; where a run folder is given, it names the model below it.
void require_model_folder(const std::filesystem::path& folder);

/// Reads config.json and, where present, modules.json, N_Pooling, N_Dense, N_Normalize, sentence_bert_config.json,
/// config_sentence_transformers.json and tokenizer_config.json; both the old and the new key names of sentence-transformers.
/// Throws Error (checkpoint, "model" or "F42") naming file and key: any model_type but bert, another activation than exact
/// GELU, other position embeddings than absolute, modules or poolings that do not exist here.
ModelFolder read_model_folder(const std::filesystem::path& folder);

/// Tokens of a text by sentence_bert_config.json, else by tokenizer_config.json, else `longest`; never above it.
int64_t read_max_length(const std::filesystem::path& folder, int64_t longest);

/// The same from a lone config.json, for a model that starts from random weights.
ModelFolder read_model_config(const std::filesystem::path& config_json);

/// Sets the masters of `params` from model.safetensors (names with or without "bert.", and the old LayerNorm names gamma and
/// beta) and from the dense module. The pooler is ignored, and so are pretraining heads unless `params` has the masked-language-model
/// head "cls.predictions.*". Call params.refresh() afterwards.
/// Returns the parameters that the folder does not have and that were left as they are: "head.*" when the folder has no dense
/// module (without config.head, or with new_head), "cls.predictions.*" when it has none of them, and RetroMAE's "decoder.*" always. Throws
/// Error (checkpoint, "F42") naming tensor, both shapes and file on anything missing or left over.
std::vector<std::string> load_weights(const ModelFolder& folder, ParamStore& params);

/// The pooler (dense layer behind [CLS]) of a folder's weights: not used here, kept so that an export has it again.
struct PoolerWeights {
  std::vector<float> weight, bias;  // [H,H], [H]; empty when there is none
  std::string dtype;                // of the file: "F32", "BF16" ...
};
PoolerWeights read_pooler(const std::filesystem::path& folder, int64_t hidden);

}  // namespace lodestone
