// Finds parameters in a folder's safetensors files by name, and fills them.
#include <algorithm>
#include <set>

#include "data/files/durable.h"
#include "data/files/safetensors.h"
#include "data/files/strict_json.h"
#include "data/models/folder_names.h"
#include "data/models/stored_weights.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

Error refused(const fs::path& file, const std::string& tensor, const std::string& what,
              std::string remedy = "use weights that belong to this config.json") {
  return Error(ExitCode::checkpoint, "F42", what, std::move(remedy)).at("tensor", tensor).at("file", file.string());
}

fs::path weights_file(const fs::path& folder) {
  fs::path file = folder / "model.safetensors";
  if (path_exists(file)) return file;
  Error error(ExitCode::checkpoint, "missing", "the folder has no model.safetensors");
  if (path_exists(folder / "model.safetensors.index.json"))
    error.remedy("weights in several files are not read: save the model again as one file");
  else if (path_exists(folder / "pytorch_model.bin"))
    error.remedy(
        "pytorch_model.bin is not read because loading it can run code: save the model again with save_pretrained(..., "
        "safe_serialization=True)");
  else
    error.remedy("give a folder with model.safetensors, or start from random weights with model.config and model.vocab");
  throw error.at("file", folder.string());
}

/// What stands in front of BertModel's names in this file: nothing, or the attribute that held the encoder.
std::string name_prefix(const SafetensorsReader& reader) {
  constexpr const char* anchor = "embeddings.word_embeddings.weight";
  std::vector<std::string> prefixes;
  for (const std::string holder : {"", "model."}) {
    prefixes.push_back(holder);
    for (const ModelTypeName& row : model_type_names) prefixes.push_back(holder + row.prefix);
  }
  prefixes.emplace_back("auto_model.");
  for (const std::string& prefix : prefixes)
    if (reader.find(prefix + anchor) != nullptr) return prefix;
  throw refused(reader.path(), anchor, "the file has no word embeddings: these are not the weights of a BERT encoder");
}

/// The stored tensor of parameter `name`; LayerNorm weights are called gamma and beta in old files.
const StoredTensor* find_parameter(const SafetensorsReader& reader, const std::string& prefix, const std::string& name) {
  if (const StoredTensor* t = reader.find(prefix + name)) return t;
  for (const auto& [now, once] : {std::pair("LayerNorm.weight", "LayerNorm.gamma"), std::pair("LayerNorm.bias", "LayerNorm.beta")})
    if (name.ends_with(now)) return reader.find(prefix + name.substr(0, name.size() - std::string_view(now).size()) + once);
  return nullptr;
}

std::string to_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += cat(i ? "," : "", shape[i]);
  return text + "]";
}

void require_shape(const SafetensorsReader& reader, const StoredTensor& stored, const Shape& needed) {
  std::vector<int64_t> shape;
  for (size_t i = 0; i < needed.rank(); ++i) shape.push_back(needed[i]);
  if (stored.shape != shape)
    throw refused(reader.path(), stored.name, cat("its shape is ", to_text(stored.shape), ", the configuration needs ", to_text(shape)));
}

/// Tensors of known modules around the encoder that an embedding does not use.
bool is_ignored(std::string_view name) {
  if (name == "embeddings.position_ids" || name == "embeddings.token_type_ids") return true;
  for (const char* module : {"pooler.", "cls.", "classifier.", "qa_outputs.", "lm_head.", "score."})
    if (name.starts_with(module)) return true;
  return false;
}

void refuse_leftovers(const SafetensorsReader& reader, const std::string& prefix, const std::set<std::string_view>& used) {
  for (const StoredTensor& t : reader.tensors()) {
    const bool inside = t.name.starts_with(prefix);
    if (used.contains(t.name) || (!inside && !prefix.empty()) || is_ignored(std::string_view(t.name).substr(prefix.size()))) continue;
    throw refused(reader.path(), t.name, "this tensor has no place in the model that config.json describes");
  }
}

fs::path dense_folder(const fs::path& folder) {
  const fs::path file = folder / "modules.json";
  const Json modules = parse_strict_json(read_text_file(file, size_t{16} << 20, ExitCode::checkpoint), ExitCode::checkpoint, "F42");
  for (const Json& module : modules)
    if (json_string(module, "type", "", file).ends_with(".Dense")) return folder / json_string(module, "path", "", file);
  throw Error(ExitCode::checkpoint, "model", "the dense module has disappeared").at("file", file.string());
}

}  // namespace

StoredWeights::StoredWeights(const ModelFolder& folder, const ParamLayout& layout) {
  const SafetensorsReader& reader = open(folder.path);
  const std::string prefix = name_prefix(reader);
  std::set<std::string_view> used;
  const bool has_dense = folder.config.head.has_value() && !folder.new_head;
  const bool has_mlm_head = std::any_of(reader.tensors().begin(), reader.tensors().end(),
                                        [](const StoredTensor& t) { return t.name.starts_with("cls.predictions."); });
  for (const Param& p : layout.params()) {
    if (p.name.starts_with("head.")) {
      if (!has_dense) absent_.push_back(p.name);
      continue;
    }
    const bool mlm_head = p.name.starts_with("cls.");  // stands beside the encoder, so without its prefix
    if ((mlm_head && !has_mlm_head) || p.name.starts_with("decoder.")) {
      absent_.push_back(p.name);
      continue;
    }
    const StoredTensor* stored = find_parameter(reader, mlm_head ? "" : prefix, p.name);
    if (stored == nullptr) throw refused(reader.path(), (mlm_head ? "" : prefix) + p.name, "this tensor is missing");
    add(reader, *stored, p);
    used.insert(stored->name);
  }
  refuse_leftovers(reader, prefix, used);
  if (has_dense) add_dense(dense_folder(folder.path), layout);
}

void StoredWeights::add_dense(const fs::path& folder, const ParamLayout& layout) {
  const SafetensorsReader& reader = open(folder);
  std::set<std::string_view> used;
  for (const Param& p : layout.params()) {
    if (!p.name.starts_with("head.")) continue;
    const StoredTensor* stored = reader.find("linear." + p.name.substr(5));
    if (stored == nullptr) throw refused(reader.path(), "linear." + p.name.substr(5), "this tensor is missing");
    add(reader, *stored, p);
    used.insert(stored->name);
  }
  refuse_leftovers(reader, "", used);
}

StoredWeights::StoredWeights(const RerankerFolder& folder, const ParamLayout& layout) {
  const SafetensorsReader& reader = open(folder.path);
  const std::string prefix = name_prefix(reader);
  std::set<std::string_view> used;
  for (const Param& p : layout.params()) {
    const bool classifier = p.name.starts_with("classifier.");  // stands beside the encoder, so without its prefix
    const StoredTensor* stored = classifier ? reader.find(p.name) : find_parameter(reader, prefix, p.name);
    if (!folder.has_classifier && (classifier || (stored == nullptr && p.name.starts_with("pooler.")))) {
      absent_.push_back(p.name);
      continue;
    }
    if (stored == nullptr) throw refused(reader.path(), (classifier ? "" : prefix) + p.name, "this tensor is missing");
    add(reader, *stored, p);
    used.insert(stored->name);
  }
  refuse_leftovers(reader, prefix, used);
}

const SafetensorsReader& StoredWeights::open(const fs::path& folder) {
  files_.push_back(std::make_unique<SafetensorsReader>(weights_file(folder)));
  return *files_.back();
}

void StoredWeights::add(const SafetensorsReader& file, const StoredTensor& tensor, const Param& param) {
  require_shape(file, tensor, param.shape);
  places_.emplace(param.name, Place{&file, &tensor});
}

const StoredWeights::Place* StoredWeights::find(std::string_view param) const {
  const auto place = places_.find(param);
  return place == places_.end() ? nullptr : &place->second;
}

std::vector<fs::path> StoredWeights::files() const {
  std::vector<fs::path> paths;
  for (const auto& file : files_) paths.push_back(file->path());
  return paths;
}

namespace {

template <class Folder>
std::vector<std::string> load(const Folder& folder, ParamStore& params) {
  const StoredWeights stored(folder, params.layout());
  for (const Param& p : params.layout().params()) {
    const StoredWeights::Place* place = stored.find(p.name);
    if (place == nullptr) continue;
    const Tensor master = params.master(p);
    if (master.dtype() == DType::f64)
      place->file->read(*place->tensor, master.host<double>());
    else
      place->file->read(*place->tensor, master.host<float>());
  }
  return stored.absent();
}

}  // namespace

std::vector<std::string> load_weights(const ModelFolder& folder, ParamStore& params) { return load(folder, params); }
std::vector<std::string> load_weights(const RerankerFolder& folder, ParamStore& params) { return load(folder, params); }

PoolerWeights read_pooler(const fs::path& folder, int64_t hidden) {
  PoolerWeights pooler;
  const fs::path kept = folder / "pooler.safetensors", full = folder / "model.safetensors";
  if (!path_exists(kept) && !path_exists(full)) return pooler;
  const SafetensorsReader reader(path_exists(kept) ? kept : full);
  const std::string prefix = path_exists(kept) ? "" : name_prefix(reader);
  const StoredTensor* weight = reader.find(prefix + "pooler.dense.weight");
  const StoredTensor* bias = reader.find(prefix + "pooler.dense.bias");
  if (weight == nullptr || bias == nullptr || weight->shape != std::vector{hidden, hidden} || bias->shape != std::vector{hidden})
    return pooler;
  pooler.dtype = weight->dtype;
  pooler.weight.resize(static_cast<size_t>(weight->count));
  pooler.bias.resize(static_cast<size_t>(bias->count));
  reader.read(*weight, std::span(pooler.weight));
  reader.read(*bias, std::span(pooler.bias));
  return pooler;
}

}  // namespace lodestone
