// What all model folders are written with: config.json of a BERT, its tensors in f32.
#include "data/models/model_files.h"

#include <algorithm>

#include "data/models/folder_names.h"

namespace lodestone {

OrderedJson bert_config(const std::string& config_json, const EncoderConfig& c, const char* architecture) {
  OrderedJson json = OrderedJson::parse(config_json);
  for (const char* key :
       {"_name_or_path", "transformers_version", "torch_dtype", "dtype", "gradient_checkpointing", "num_labels", "id2label", "label2id",
        "problem_type", "finetuning_task", "hidden_act", "position_embedding_type", "classifier_dropout"})
    json.erase(key);
  json["architectures"] = OrderedJson::array({architecture});
  json["model_type"] = name_of(c.type);
  json["hidden_act"] = row_of(c.activation).name;
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

void F32Tensors::add(std::string name, Tensor values) {
  if (values.dtype() == DType::f64) {
    const auto wide = values.host<double>();
    rounded_.emplace_back(wide.size());
    std::transform(wide.begin(), wide.end(), rounded_.back().begin(), [](double x) { return static_cast<float>(x); });
    values = Tensor(reinterpret_cast<std::byte*>(rounded_.back().data()), DType::f32, values.shape());
  }
  tensors_.push_back({std::move(name), values});
}

std::vector<WeightsFile> embedder_files(const EmbedderConfig& config, const ParamLayout& layout) {
  const std::string prefix = encoder_prefix(config, layout);
  std::vector<WeightsFile> files{{"model.safetensors", {}}};
  if (config.head) files.push_back({"2_Dense/model.safetensors", {}});
  for (const Param& p : layout.params()) {
    if (p.name.starts_with("decoder.")) continue;
    if (p.name.starts_with("head."))
      files.back().tensors.emplace_back("linear." + p.name.substr(5), &p);
    else
      files.front().tensors.emplace_back(p.name.starts_with("cls.") ? p.name : prefix + p.name, &p);
  }
  return files;
}

std::string encoder_prefix(const EmbedderConfig& config, const ParamLayout& layout) {
  return layout.contains("cls.predictions.bias") ? row_of(config.encoder.type).prefix : "";
}

std::vector<WeightsFile> reranker_files(const RerankerConfig& config, const ParamLayout& layout) {
  WeightsFile file{"model.safetensors", {}};
  for (const Param& p : layout.params())
    file.tensors.emplace_back(p.name.starts_with("classifier.") ? p.name : row_of(config.encoder.type).prefix + p.name, &p);
  return {std::move(file)};
}

}  // namespace lodestone
