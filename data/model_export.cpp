#include "data/model_export.h"

#include <algorithm>

#include "data/safetensors.h"
#include "data/strict_json.h"
#include "data/tokenizer_files.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

// The releases whose file layout is written here; newer ones read it too, and no reader warns of a file newer than itself.
constexpr const char* sentence_transformers_layout = "2.2.2";
constexpr const char* pooler_file = "pooler.safetensors";

void write_json(const fs::path& file, const OrderedJson& json) { write_new_file(file, json.dump(2) + "\n"); }

OrderedJson bert_config(const ModelFolder& model) {
  OrderedJson json = OrderedJson::parse(model.config_json);
  for (const char* key :
       {"_name_or_path", "transformers_version", "torch_dtype", "dtype", "gradient_checkpointing", "num_labels", "id2label",
        "label2id", "problem_type", "finetuning_task", "hidden_act", "position_embedding_type", "classifier_dropout"})
    json.erase(key);
  const EncoderConfig& c = model.config.encoder;
  json["architectures"] = {"BertModel"};
  json["model_type"] = "bert";
  json["hidden_act"] = "gelu";
  json["position_embedding_type"] = "absolute";
  json["vocab_size"] = c.vocab;
  json["hidden_size"] = c.hidden;
  json["num_hidden_layers"] = c.layers;
  json["num_attention_heads"] = c.heads;
  json["intermediate_size"] = c.feed_forward;
  json["max_position_embeddings"] = c.positions;
  json["type_vocab_size"] = c.types;
  json["layer_norm_eps"] = c.layer_norm_eps;
  json["initializer_range"] = c.initializer_range;
  json["hidden_dropout_prob"] = c.hidden_dropout;
  json["attention_probs_dropout_prob"] = c.attention_dropout;
  json["torch_dtype"] = "float32";
  return json;
}

OrderedJson pooling_config(const EmbedderConfig& config) {
  return {{"word_embedding_dimension", config.encoder.hidden},
          {"pooling_mode_cls_token", config.pooling == Pooling::cls},
          {"pooling_mode_mean_tokens", config.pooling == Pooling::mean},
          {"pooling_mode_max_tokens", false},
          {"pooling_mode_mean_sqrt_len_tokens", false},
          {"pooling_mode_weightedmean_tokens", false},
          {"pooling_mode_lasttoken", config.pooling == Pooling::last_token}};
}

OrderedJson dense_config(const EmbedderConfig& config) {
  return {{"in_features", config.encoder.hidden},
          {"out_features", config.head->out_features},
          {"bias", config.head->bias},
          {"activation_function", config.head->tanh ? "torch.nn.modules.activation.Tanh" : "torch.nn.modules.linear.Identity"}};
}

/// modules.json, the other JSON files and the module folders: everything but weights, tokenizer and card.
void write_configuration(const fs::path& folder, const ModelFolder& model) {
  write_json(folder / "config.json", bert_config(model));
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
  general["similarity_fn_name"] = model.similarity;
  write_json(folder / "config_sentence_transformers.json", general);
}

/// Tensors to write, f64 ones rounded to f32 in memory that the list owns.
class F32Tensors {
 public:
  void add(std::string name, Tensor values) {
    if (values.dtype() == DType::f64) {
      const auto wide = values.host<double>();
      rounded_.emplace_back(wide.size());
      std::transform(wide.begin(), wide.end(), rounded_.back().begin(), [](double x) { return static_cast<float>(x); });
      values = Tensor(reinterpret_cast<std::byte*>(rounded_.back().data()), DType::f32, values.shape());
    }
    tensors_.push_back({std::move(name), values});
  }
  const std::vector<NamedTensor>& list() const { return tensors_; }

 private:
  std::vector<NamedTensor> tensors_;
  std::vector<std::vector<float>> rounded_;
};

void add_pooler(PoolerWeights& pooler, int64_t hidden, const std::string& prefix, F32Tensors& tensors) {
  if (pooler.weight.empty()) return;
  tensors.add(prefix + "pooler.dense.bias", Tensor(reinterpret_cast<std::byte*>(pooler.bias.data()), DType::f32, {hidden}));
  tensors.add(prefix + "pooler.dense.weight", Tensor(reinterpret_cast<std::byte*>(pooler.weight.data()), DType::f32, {hidden, hidden}));
}

/// RetroMAE's decoder is left out. A masked-language-model head stands beside the encoder, which then is called "bert.": both
/// BertModel and BertForMaskedLM read that.
void write_weights(const fs::path& folder, const ModelFolder& model, const ParamStore& params, PoolerWeights& pooler) {
  F32Tensors encoder, dense;
  const std::string prefix = params.layout().contains("cls.predictions.bias") ? "bert." : "";
  for (const Param& p : params.layout().params()) {
    if (p.name.starts_with("decoder.")) continue;
    if (p.name.starts_with("head."))
      dense.add("linear." + p.name.substr(5), params.master(p));
    else
      encoder.add(p.name.starts_with("cls.") ? p.name : prefix + p.name, params.master(p));
  }
  add_pooler(pooler, model.config.encoder.hidden, prefix, encoder);
  write_safetensors(folder / "model.safetensors", encoder.list());
  if (model.config.head) write_safetensors(folder / "2_Dense" / "model.safetensors", dense.list());
}

/// Runs `fill(temporary)` and publishes the result; nothing stays behind when it throws.
template <class Fill>
void write_folder(const fs::path& path, IfExists if_exists, Fill fill) {
  fs::path target = path;
  if (target.filename().empty()) target = target.parent_path();  // "out/" and "out" are one folder
  if (if_exists == IfExists::refuse && path_exists(target))
    throw Error(ExitCode::usage, "exists", "the output folder exists already", "choose another name or remove it")
        .at("file", target.string());
  fs::path temporary = target;
  temporary += ".tmp";
  std::error_code ignored;
  fs::remove_all(temporary, ignored);  // left by a crash
  make_folder(temporary);
  try {
    fill(temporary);
    publish_folder(temporary, target, if_exists);
  } catch (...) {
    fs::remove_all(temporary, ignored);
    throw;
  }
}

}  // namespace

void write_model_folder(const fs::path& path, const ModelFolder& model, const ParamStore& params, const fs::path& source,
                        const ModelCard& card, IfExists if_exists) {
  PoolerWeights pooler = read_pooler(source, model.config.encoder.hidden);
  write_folder(path, if_exists, [&](const fs::path& folder) {
    write_configuration(folder, model);
    write_tokenizer_files(source, folder);
    write_weights(folder, model, params, pooler);
    write_new_file(folder / "README.md", model_card(model, card));
  });
}

void keep_model_source(const ModelFolder& model, const fs::path& to) {
  PoolerWeights pooler = read_pooler(model.path, model.config.encoder.hidden);
  write_folder(to, IfExists::replace, [&](const fs::path& folder) {
    write_configuration(folder, model);
    write_tokenizer_files(model.path, folder);
    F32Tensors tensors;
    add_pooler(pooler, model.config.encoder.hidden, "", tensors);
    if (!tensors.list().empty()) write_safetensors(folder / pooler_file, tensors.list());
  });
}

void make_model_source(const ModelFolder& model, const fs::path& vocab_txt, const TokenizerOptions& options, const fs::path& to) {
  write_folder(to, IfExists::replace, [&](const fs::path& folder) {
    write_configuration(folder, model);
    write_tokenizer_files(vocab_txt, options, model.max_seq_length, folder);
  });
}

}  // namespace lodestone
