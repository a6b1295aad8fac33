// What all model folders are written with: config.json of a BERT, its tensors in f32, publication by one rename.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "core/nn/config.h"
#include "core/params.h"
#include "data/files/safetensors.h"
#include "data/files/strict_json.h"
#include "data/files/temporary.h"

namespace lodestone {

/// config.json of an encoder: the keys of `config_json`, less those of another training, with the sizes of `c`.
OrderedJson bert_config(const std::string& config_json, const EncoderConfig& c, const char* architecture);

/// Tensors to write, f64 ones rounded to f32 in memory that the list owns.
class F32Tensors {
 public:
  void add(std::string name, Tensor values);
  const std::vector<NamedTensor>& list() const { return tensors_; }

 private:
  std::vector<NamedTensor> tensors_;
  std::vector<std::vector<float>> rounded_;
};

/// A file of weights as it is written: its place below the folder, and its parameters, of the layout given, by their names in it.
struct WeightsFile {
  std::string path;  // "model.safetensors", "2_Dense/model.safetensors"
  std::vector<std::pair<std::string, const Param*>> tensors;
};

/// The files of an embedder. RetroMAE's decoder is left out. A masked-language-model head stands beside the encoder, which then is called
/// "bert.": both BertModel and BertForMaskedLM read that.
std::vector<WeightsFile> embedder_files(const EmbedderConfig& config, const ParamLayout& layout);
/// What stands in front of the encoder's and the pooler's names in them: "bert." beside such a head, else nothing.
std::string encoder_prefix(const EmbedderConfig& config, const ParamLayout& layout);
/// Of a reranker: one, with "bert." and "classifier.".
std::vector<WeightsFile> reranker_files(const RerankerConfig& config, const ParamLayout& layout);

/// Runs `fill(temporary)` and publishes the result; nothing stays behind when it throws.
template <class Fill>
void write_folder(const std::filesystem::path& path, IfExists if_exists, Fill fill) {
  std::filesystem::path target = path;
  if (target.filename().empty()) target = target.parent_path();  // "out/" and "out" are one folder
  if (if_exists == IfExists::refuse && path_exists(target))
    throw Error(ExitCode::usage, "exists", "the output folder exists already", "choose another name or remove it")
        .at("file", target.string());
  if (target.has_parent_path()) make_folder(target.parent_path());
  Temporary temporary(target, Temporary::Kind::folder);
  fill(temporary.path());
  publish_folder(temporary.path(), target, if_exists);
  temporary.release();
}

}  // namespace lodestone
