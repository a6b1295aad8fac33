#include "data/models/reranker_folder.h"

#include <algorithm>

#include "data/models/folder_names.h"
#include "data/models/model_files.h"
#include "data/text/tokenizer_files.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

/// Whether it is the cross-encoder of some model type.
bool names_architecture(const Json& config) {
  const auto list = config.find("architectures");
  if (list == config.end() || !list->is_array()) return false;
  return std::any_of(std::begin(model_type_names), std::end(model_type_names),
                     [&](const ModelTypeName& row) { return std::find(list->begin(), list->end(), Json(row.reranker)) != list->end(); });
}

/// How many scores the classifier gives: the labels of id2label, else num_labels, else two.
int64_t labels(const Json& config, const fs::path& file) {
  if (const auto names = config.find("id2label"); names != config.end() && names->is_object()) return static_cast<int64_t>(names->size());
  return json_integer(config, "num_labels", 2, file);
}

OrderedJson reranker_config(const RerankerFolder& model) {
  const RerankerConfig& c = model.config;
  OrderedJson json = bert_config(model.config_json, c.encoder, row_of(c.encoder.type).reranker);
  json["id2label"] = {{"0", "LABEL_0"}};
  json["label2id"] = {{"LABEL_0", 0}};
  if (c.classifier_dropout == c.encoder.hidden_dropout)
    json["classifier_dropout"] = nullptr;
  else
    json["classifier_dropout"] = c.classifier_dropout;
  return json;
}

}  // namespace

bool is_reranker_folder(const fs::path& folder) {
  const fs::path file = folder / "config.json";
  if (!path_exists(file)) return false;
  const Json config = read_json_object(file);
  return names_architecture(config) && labels(config, file) == 1;
}

RerankerFolder read_reranker_folder(const fs::path& folder) {
  const fs::path file = folder / "config.json", prompts = folder / "config_sentence_transformers.json";
  require_model_folder(folder);
  ModelFolder plain = read_model_config(file);
  RerankerFolder model;
  model.path = folder;
  model.config.encoder = plain.config.encoder;
  model.config_json = std::move(plain.config_json);
  const Json config = read_json_object(file);
  model.has_classifier = is_reranker_folder(folder);
  model.config.classifier_dropout = json_number(config, "classifier_dropout", model.config.encoder.hidden_dropout, file);
  if (!(model.config.classifier_dropout >= 0 && model.config.classifier_dropout < 1))
    throw Error(ExitCode::checkpoint, "model", cat("\"classifier_dropout\" is ", model.config.classifier_dropout),
                "give a probability from 0 to below 1")
        .at("file", file.string());
  if (model.config.encoder.types < 2)
    throw Error(ExitCode::checkpoint, "model", "the model has one token type, a pair needs two", "use a model with type_vocab_size 2")
        .at("file", file.string());
  require_pairs(folder);
  model.max_seq_length = read_max_length(folder, model.config.encoder.longest_text());
  if (model.has_classifier && path_exists(prompts) && !json_string(read_json_object(prompts), "default_prompt_name", "", prompts).empty())
    throw Error(ExitCode::checkpoint, "model", "a cross-encoder with a default prompt is not supported", "remove default_prompt_name")
        .at("file", prompts.string());
  return model;
}

namespace {

/// What CrossEncoder cuts a pair at stands in the tokenizer's file.
void set_max_length(const fs::path& file, int64_t tokens) {
  OrderedJson json = OrderedJson::object();
  if (path_exists(file)) {
    (void)read_json_object(file);  // refuses what is none; the order of its keys stays
    json = OrderedJson::parse(read_text_file(file, size_t{16} << 20, ExitCode::checkpoint));
  }
  json["model_max_length"] = tokens;
  write_file_atomically(file, json.dump(2) + "\n");
}

}  // namespace

void write_reranker_folder(const fs::path& path, const RerankerFolder& model, const ParamStore& params, const fs::path& source,
                           const ModelCard& card, IfExists if_exists) {
  const auto write = [&](const fs::path& folder) {
    for (const WeightsFile& file : reranker_files(model.config, params.layout())) {
      F32Tensors tensors;
      for (const auto& [name, param] : file.tensors) tensors.add(name, params.master(*param));
      write_safetensors(folder / file.path, tensors.list());
    }
  };
  write_reranker_folder(path, model, WeightsWriter{"float32", write}, source, card, if_exists);
}

void write_reranker_folder(const fs::path& path, const RerankerFolder& model, const WeightsWriter& weights, const fs::path& source,
                           const ModelCard& card, IfExists if_exists) {
  write_folder(path, if_exists, [&](const fs::path& folder) {
    OrderedJson config = reranker_config(model);
    config["torch_dtype"] = weights.torch_dtype;
    write_json(folder / "config.json", config);
    write_tokenizer_files(source, folder);
    set_max_length(folder / "tokenizer_config.json", model.max_seq_length);
    weights.write(folder);
    write_new_file(folder / "README.md", model_card(model, card));
  });
}

void keep_reranker_source(const RerankerFolder& model, const Tokenizer& tokenizer, const fs::path& to) {
  write_folder(to, IfExists::replace, [&](const fs::path& folder) {
    write_json(folder / "config.json", reranker_config(model));
    write_tokenizer_files(model.path, folder);
    set_max_length(folder / "tokenizer_config.json", model.max_seq_length);
    require_tokenizer_files(folder, tokenizer.fingerprint());
  });
}

}  // namespace lodestone
