#include "data/models/model_folder.h"

#include <cmath>
#include <span>

#include "data/files/durable.h"
#include "data/files/strict_json.h"
#include "data/models/folder_names.h"
#include "data/text/tokenizer_spec.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

constexpr double shortest_text = 3;  // tokens: [CLS], one of the text, [SEP]

constexpr size_t max_config_bytes = size_t{16} << 20;
constexpr const char* what_works = "models of type bert work: BERT, MiniLM, BGE, GTE, E5, Conan (encoders with a WordPiece vocabulary)";

Error refused(const fs::path& file, const std::string& what, std::string remedy = what_works) {
  return Error(ExitCode::checkpoint, "model", what, std::move(remedy)).at("file", file.string());
}

int64_t size_key(const Json& json, const char* key, int64_t fallback, int64_t limit, const fs::path& file) {
  const int64_t value = json_integer(json, key, fallback, file);
  if (value == 0 && !json.contains(key)) throw refused(file, cat("\"", key, "\" is missing"), "give the size");
  if (value < 1 || value > limit)
    throw refused(file, cat("\"", key, "\" is ", value, ", sizes from 1 to ", limit, " work"), "correct the size");
  return value;
}

/// "a, b or c".
std::string alternatives(std::span<const std::string_view> names, const char* last) {
  std::string text;
  for (size_t i = 0; i < names.size(); ++i) text += cat(i == 0 ? "" : i + 1 == names.size() ? cat(" ", last, " ") : ", ", names[i]);
  return text;
}

double probability_key(const Json& json, const char* key, const fs::path& file) {
  const double p = json_number(json, key, 0.1, file);
  if (!(p >= 0 && p < 1)) throw refused(file, cat("\"", key, "\" is ", p, ", probabilities from 0 to below 1 work"), "correct the value");
  return p;
}

HiddenActivation parse_hidden_activation(const Json& json, const fs::path& file) {
  const std::string given = json_string(json, "hidden_act", "gelu", file);
  for (const HiddenActivationName& row : hidden_activation_names)
    if (given == row.name) return row.activation;
  throw refused(file, cat("hidden_act \"", given, "\" is not supported"),
                cat("models with hidden_act ", alternatives(names_of<HiddenActivation>(), "or"), " work"));
}

ModelType parse_model_type(const Json& json, const fs::path& file) {
  const std::string given = json_string(json, "model_type", "", file);
  for (const ModelType type : values_of<ModelType>())
    if (given == name_of(type)) return type;
  throw refused(file, given.empty() ? std::string("\"model_type\" is missing") : cat("model_type \"", given, "\" is not supported"));
}

EncoderConfig parse_encoder(const Json& json, const fs::path& file) {
  const ModelType type = parse_model_type(json, file);
  if (json.contains("auto_map")) throw refused(file, "the model needs program code of its own (\"auto_map\")");
  if (json.contains("quantization_config"))
    throw refused(file, "the weights are quantised (\"quantization_config\")", "use the unquantised model");
  const HiddenActivation activation = parse_hidden_activation(json, file);
  const std::string position = json_string(json, "position_embedding_type", "absolute", file);
  if (position != "absolute")
    throw refused(file, cat("position_embedding_type \"", position, "\" is not supported"),
                  "models with absolute position embeddings work");
  for (const char* key : {"is_decoder", "add_cross_attention"})
    if (json_flag(json, key, false, file)) throw refused(file, cat("\"", key, "\" is set: this is a decoder"));
  if (const auto pruned = json.find("pruned_heads"); pruned != json.end() && !pruned->empty())
    throw refused(file, "models with pruned heads are not supported");
  EncoderConfig c;
  c.type = type;
  c.activation = activation;
  c.vocab = size_key(json, "vocab_size", 0, int64_t{1} << 24, file);
  c.hidden = size_key(json, "hidden_size", 0, 1 << 16, file);
  c.layers = size_key(json, "num_hidden_layers", 0, 1000, file);
  c.heads = size_key(json, "num_attention_heads", 0, c.hidden, file);
  c.feed_forward = size_key(json, "intermediate_size", 0, 1 << 20, file);
  c.positions = size_key(json, "max_position_embeddings", 512, 1 << 16, file);
  c.types = size_key(json, "type_vocab_size", 2, 1 << 16, file);
  if (c.hidden % c.heads != 0)
    throw refused(file, cat("hidden_size ", c.hidden, " is not divisible by num_attention_heads ", c.heads),
                  "choose a divisor of the hidden size");
  c.layer_norm_eps = json_number(json, "layer_norm_eps", 1e-12, file);
  if (!(c.layer_norm_eps > 0 && c.layer_norm_eps < 1))
    throw refused(file, cat("layer_norm_eps is ", c.layer_norm_eps), "give a small positive number");
  c.initializer_range = json_number(json, "initializer_range", 0.02, file);
  if (!(c.initializer_range >= 0 && std::isfinite(c.initializer_range)))
    throw refused(file, cat("initializer_range is ", c.initializer_range), "give a small positive number");
  c.hidden_dropout = probability_key(json, "hidden_dropout_prob", file);
  c.attention_dropout = probability_key(json, "attention_probs_dropout_prob", file);
  return c;
}

/// "pooling by cls, mean or lasttoken works"
std::string what_poolings_work() {
  std::vector<std::string_view> modes;
  for (const PoolingName& row : pooling_names)
    if (row.pooling) modes.push_back(row.mode);
  return cat("pooling by ", alternatives(modes, "or"), " works");
}

Pooling pooling_named(std::string_view name, const fs::path& file) {
  for (const PoolingName& row : pooling_names)
    if (name == row.mode && row.pooling) return *row.pooling;
  throw refused(file, cat("the pooling \"", name, "\" is not supported"), what_poolings_work());
}

Pooling parse_pooling(const fs::path& file, int64_t hidden) {
  const Json json = read_json_object(file);
  for (const char* key : {"word_embedding_dimension", "embedding_dimension"})
    if (const int64_t width = json_integer(json, key, hidden, file); width != hidden)
      throw refused(file, cat("\"", key, "\" is ", width, ", the model's hidden_size is ", hidden), "correct the folder");
  if (!json_flag(json, "include_prompt", true, file))
    throw refused(file, "pooling that leaves the prompt out (include_prompt: false) is not supported",
                  "models that pool the prompt too work");
  if (const auto mode = json.find("pooling_mode"); mode != json.end()) {
    const Json& one = mode->is_array() && mode->size() == 1 ? mode->front() : *mode;
    if (!one.is_string()) throw refused(file, "several poolings side by side are not supported", what_poolings_work());
    return pooling_named(one.get<std::string>(), file);
  }
  std::vector<std::string_view> active;
  for (const PoolingName& row : pooling_names)
    if (json_flag(json, row.flag, false, file)) active.push_back(row.mode);
  if (active.size() > 1)
    throw refused(file, cat("several poolings side by side (", active[0], ", ", active[1], ") are not supported"), what_poolings_work());
  return active.empty() ? Pooling::mean : pooling_named(active[0], file);
}

Squash parse_squash(const Json& json, const fs::path& file) {
  const std::string given = json_string(json, "activation_function", row_of(Squash::tanh).function, file);
  std::vector<std::string_view> known;
  for (const SquashName& row : squash_names) {
    if (given == row.function) return row.squash;
    known.emplace_back(row.remedy);
  }
  throw refused(file, cat("the activation \"", given, "\" is not supported"), cat(alternatives(known, "and"), " work"));
}

HeadConfig parse_dense(const fs::path& file, int64_t in_features) {
  const Json json = read_json_object(file);
  HeadConfig head;
  const int64_t in = size_key(json, "in_features", 0, 1 << 20, file);
  if (in != in_features) throw refused(file, cat("in_features is ", in, ", the pooled vector has ", in_features), "correct the folder");
  head.out_features = size_key(json, "out_features", 0, 1 << 20, file);
  head.bias = json_flag(json, "bias", true, file);
  head.squash = parse_squash(json, file);
  if (json_flag(json, "use_residual", false, file))
    throw refused(file, "a dense module with use_residual is not supported", "dense modules without it work");
  for (const char* key : {"module_input_name", "module_output_name"})
    if (json_string(json, key, "sentence_embedding", file) != "sentence_embedding")
      throw refused(file, cat("\"", key, "\" must be sentence_embedding"), "a plain dense module works");
  return head;
}

/// "sentence_transformers.models.Pooling" and "sentence_transformers.sentence_transformer.modules.pooling.Pooling" -> "Pooling".
std::string module_class(const std::string& type, const fs::path& file) {
  if (!type.starts_with("sentence_transformers.")) throw refused(file, cat("the module type \"", type, "\" needs program code of its own"));
  return type.substr(type.rfind('.') + 1);
}

void parse_modules(const fs::path& folder, ModelFolder& model) {
  const fs::path file = folder / "modules.json";
  const std::string text = read_text_file(file, max_config_bytes, ExitCode::checkpoint);
  Json modules;
  try {
    modules = parse_strict_json(text, ExitCode::checkpoint, "F42");
  } catch (Error& error) {
    error.at("file", file.string());
    throw;
  }
  if (!modules.is_array() || modules.empty()) throw refused(file, "a list of modules is needed", "correct the folder");
  // Order that works: Transformer, Pooling, Dense (at most one), Normalize (at most one).
  constexpr const char* order[] = {"Transformer", "Pooling", "Dense", "Normalize"};
  size_t next = 0;
  model.config.normalize = false;
  for (const Json& module : modules) {
    if (!module.is_object()) throw refused(file, "each module must be an object", "correct the folder");
    const std::string kind = module_class(json_string(module, "type", "", file), file);
    const fs::path relative = json_string(module, "path", "", file);
    if (relative.is_absolute() || relative.string().find("..") != std::string::npos)
      throw refused(file, cat("the module path ", relative.string(), " leaves the folder"), "correct the folder");
    size_t place = next;
    while (place < std::size(order) && kind != order[place]) ++place;
    if (place == std::size(order) || (next < 2 && place != next))
      throw refused(file, cat("a module ", kind, " at this place is not supported"),
                    "the order Transformer, Pooling, optionally Dense, optionally Normalize works");
    next = place + 1;
    const fs::path config = folder / relative / "config.json";
    if (kind == "Transformer" && !relative.empty() && relative != ".")
      throw refused(file, "the transformer must lie in the folder itself (path \"\")",
                    "save it again with sentence-transformers 2 or newer");
    if (kind == "Pooling") model.config.pooling = parse_pooling(config, model.config.encoder.hidden);
    if (kind == "Dense") model.config.head = parse_dense(config, model.config.encoder.hidden);
    if (kind == "Normalize") {
      model.config.normalize = true;
      if (path_exists(config) &&
          json_string(read_json_object(config), "module_input_name", "sentence_embedding", config) != "sentence_embedding")
        throw refused(config, "normalising token vectors is not supported", "a Normalize module on the sentence_embedding works");
    }
  }
  if (next < 2)
    throw refused(file, "a Pooling module is missing", "the order Transformer, Pooling, optionally Dense, optionally Normalize works");
  model.has_modules = true;
}

Similarity parse_similarity(const Json& json, const fs::path& file) {
  const std::string name = json_string(json, "similarity_fn_name", std::string(name_of(Similarity::cosine)), file);
  for (const Similarity similarity : values_of<Similarity>())
    if (name == name_of(similarity)) return similarity;
  throw refused(file, cat("similarity_fn_name \"", name, "\" is not supported"), "cosine and dot work");
}

void parse_sentence_config(const fs::path& folder, ModelFolder& model) {
  model.max_seq_length = read_max_length(folder, model.config.encoder.longest_text());
  const fs::path sentence = folder / "sentence_bert_config.json", prompts = folder / "config_sentence_transformers.json";
  if (path_exists(sentence)) {
    const Json json = read_json_object(sentence);
    if (json_string(json, "transformer_task", "feature-extraction", sentence) != "feature-extraction")
      throw refused(sentence, "only the task feature-extraction is supported");
    if (json_flag(json, "do_lower_case", false, sentence) && !read_tokenizer_folder(folder).options.lower_case)
      throw refused(sentence, "do_lower_case is set, but the tokenizer keeps capitals: sentence-transformers alone would lower them",
                    "set do_lower_case in tokenizer_config.json and normalizer.lowercase in tokenizer.json too");
  }
  if (!path_exists(prompts)) return;
  const Json json = read_json_object(prompts);
  if (const std::string kind = json_string(json, "model_type", "SentenceTransformer", prompts); kind != "SentenceTransformer")
    throw refused(prompts, cat("a ", kind, " is not a text-embedding model"));
  if (const auto map = json.find("prompts"); map != json.end() && !map->is_null()) {
    if (!map->is_object()) throw refused(prompts, "\"prompts\" must be an object", "correct the file");
    for (const auto& [name, text] : map->items()) model.prompts[name] = json_string(*map, name.c_str(), "", prompts);
  }
  model.default_prompt = json_string(json, "default_prompt_name", "", prompts);
  if (!model.default_prompt.empty() && !model.prompts.contains(model.default_prompt))
    throw refused(prompts, cat("the default prompt \"", model.default_prompt, "\" is not among the prompts"), "correct the file");
  model.similarity = parse_similarity(json, prompts);
}

}  // namespace

int64_t read_max_length(const fs::path& folder, int64_t longest) {
  for (const auto& [name, key] :
       {std::pair("sentence_bert_config.json", "max_seq_length"), std::pair("tokenizer_config.json", "model_max_length")}) {
    const fs::path file = folder / name;
    if (!path_exists(file)) continue;
    const double value = json_number(read_json_object(file), key, 0, file);  // "unlimited" is stored as 1e30
    if (value >= 1 && value < shortest_text)
      throw refused(file, cat("\"", key, "\" is ", value, ", which leaves no room for a text between [CLS] and [SEP]"),
                    "give more, such as 512");
    if (value >= 1) return value < static_cast<double>(longest) ? static_cast<int64_t>(value) : longest;
  }
  return longest;
}

ModelFolder read_model_config(const fs::path& config_json) {
  ModelFolder model;
  model.path = config_json.parent_path();
  model.config_json = read_text_file(config_json, max_config_bytes, ExitCode::checkpoint);
  model.config.encoder = parse_encoder(read_json_object(config_json), config_json);
  model.max_seq_length = model.config.encoder.longest_text();
  if (static_cast<double>(model.max_seq_length) < shortest_text)
    throw refused(config_json, cat("texts of at most ", model.max_seq_length, " tokens leave no room between [CLS] and [SEP]"),
                  "correct max_position_embeddings");
  return model;
}

void require_model_folder(const fs::path& folder) {
  if (path_exists(folder / "config.json")) return;
  if (path_exists(folder / "0_Transformer"))
    throw refused(folder, "the transformer lies in 0_Transformer, an old layout", "save it again with sentence-transformers 2 or newer");
  const bool run = path_exists(folder / "model" / "config.json"), exists = path_exists(folder);
  throw Error(ExitCode::checkpoint, "missing",
              run      ? "this is a run folder, its model lies below it"
              : exists ? "a model folder without config.json"
                       : "the model folder does not exist",
              run ? cat("give ", (folder / "model").string()) : "give a folder with config.json and model.safetensors")
      .at("file", folder.string());
}

ModelFolder read_model_folder(const fs::path& folder) {
  require_model_folder(folder);
  ModelFolder model = read_model_config(folder / "config.json");
  model.path = folder;
  if (path_exists(folder / "modules.json")) parse_modules(folder, model);
  parse_sentence_config(folder, model);
  return model;
}

}  // namespace lodestone
