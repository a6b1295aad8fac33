#include "data/models/model_export.h"

#include "data/models/folder_names.h"
#include "data/models/model_files.h"
#include "data/text/tokenizer_files.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

// The releases whose file layout is written here; newer ones read it too, and no reader warns of a file newer than itself.
constexpr const char* sentence_transformers_layout = "2.2.2";
constexpr const char* pooler_file = "pooler.safetensors";

OrderedJson pooling_config(const EmbedderConfig& config) {
  OrderedJson json{{"word_embedding_dimension", config.encoder.hidden}};
  for (const PoolingName& row : pooling_names) json[row.flag] = row.pooling == config.pooling;
  return json;
}

OrderedJson dense_config(const EmbedderConfig& config) {
  return {{"in_features", config.encoder.hidden},
          {"out_features", config.head->out_features},
          {"bias", config.head->bias},
          {"activation_function", row_of(config.head->squash).function}};
}

/// modules.json, the other JSON files and the module folders: everything but weights, tokenizer and card.
void write_configuration(const fs::path& folder, const ModelFolder& model, const std::string& torch_dtype = "float32") {
  OrderedJson config = bert_config(model.config_json, model.config.encoder, row_of(model.config.encoder.type).encoder);
  config["torch_dtype"] = torch_dtype;
  write_json(folder / "config.json", config);
  OrderedJson modules = OrderedJson::array();
  const auto add = [&](const char* kind) {
    const size_t index = modules.size();
    const std::string path = index == 0 ? std::string() : cat(index, "_", kind);
    modules.push_back(
        {{"idx", index}, {"name", std::to_string(index)}, {"path", path}, {"type", cat("sentence_transformers.models.", kind)}});
    if (index != 0) make_folder(folder / path);
    return folder / path;
  };
  add("Transformer");
  write_json(add("Pooling") / "config.json", pooling_config(model.config));
  if (model.config.head) write_json(add("Dense") / "config.json", dense_config(model.config));
  if (model.config.normalize) add("Normalize");
  write_json(folder / "modules.json", modules);
  write_json(folder / "sentence_bert_config.json", {{"max_seq_length", model.max_seq_length}, {"do_lower_case", false}});
  OrderedJson general;
  general["__version__"] = {{"sentence_transformers", sentence_transformers_layout}};
  general["model_type"] = "SentenceTransformer";
  general["prompts"] = OrderedJson::object();
  for (const auto& [name, text] : model.prompts) general["prompts"][name] = text;
  if (model.default_prompt.empty())
    general["default_prompt_name"] = nullptr;
  else
    general["default_prompt_name"] = model.default_prompt;
  general["similarity_fn_name"] = name_of(model.similarity);
  write_json(folder / "config_sentence_transformers.json", general);
}

void add_pooler(PoolerWeights& pooler, int64_t hidden, const std::string& prefix, F32Tensors& tensors) {
  if (pooler.weight.empty()) return;
  tensors.add(prefix + "pooler.dense.bias", Tensor(reinterpret_cast<std::byte*>(pooler.bias.data()), DType::f32, {hidden}));
  tensors.add(prefix + "pooler.dense.weight", Tensor(reinterpret_cast<std::byte*>(pooler.weight.data()), DType::f32, {hidden, hidden}));
}

void write_weights(const fs::path& folder, const ModelFolder& model, const ParamStore& params, PoolerWeights& pooler) {
  const std::vector<WeightsFile> files = embedder_files(model.config, params.layout());
  for (const WeightsFile& file : files) {
    F32Tensors tensors;
    for (const auto& [name, param] : file.tensors) tensors.add(name, params.master(*param));
    if (&file == &files.front()) add_pooler(pooler, model.config.encoder.hidden, encoder_prefix(model.config, params.layout()), tensors);
    write_safetensors(folder / file.path, tensors.list());
  }
}

}  // namespace

void write_model_folder(const fs::path& path, const ModelFolder& model, const ParamStore& params, const fs::path& source,
                        const ModelCard& card, IfExists if_exists) {
  PoolerWeights pooler = read_pooler(source, model.config.encoder.hidden);
  const WeightsWriter weights{"float32", [&](const fs::path& folder) { write_weights(folder, model, params, pooler); }};
  write_model_folder(path, model, weights, source, card, if_exists);
}

void write_model_folder(const fs::path& path, const ModelFolder& model, const WeightsWriter& weights, const fs::path& source,
                        const ModelCard& card, IfExists if_exists) {
  write_folder(path, if_exists, [&](const fs::path& folder) {
    write_configuration(folder, model, weights.torch_dtype);
    write_tokenizer_files(source, folder);
    weights.write(folder);
    write_new_file(folder / "README.md", model_card(model, card));
  });
}

void keep_model_source(const ModelFolder& model, const Tokenizer& tokenizer, const fs::path& to) {
  PoolerWeights pooler = read_pooler(model.path, model.config.encoder.hidden);
  write_folder(to, IfExists::replace, [&](const fs::path& folder) {
    write_configuration(folder, model);
    write_tokenizer_files(model.path, folder);
    require_tokenizer_files(folder, tokenizer.fingerprint());
    F32Tensors tensors;
    add_pooler(pooler, model.config.encoder.hidden, "", tensors);
    if (!tensors.list().empty()) write_safetensors(folder / pooler_file, tensors.list());
  });
}

void make_model_source(const ModelFolder& model, const Tokenizer& tokenizer, const fs::path& to) {
  write_folder(to, IfExists::replace, [&](const fs::path& folder) {
    write_configuration(folder, model);
    tokenizer.write_files(model.max_seq_length, folder);
    require_tokenizer_files(folder, tokenizer.fingerprint());
  });
}

}  // namespace lodestone
