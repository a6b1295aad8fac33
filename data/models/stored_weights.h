// Where each parameter of a model stands in the files of its folder: found and checked by name and shape, not yet read.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "data/files/safetensors.h"
#include "data/models/reranker_folder.h"

namespace lodestone {

class StoredWeights {
 public:
  struct Place {
    const SafetensorsReader* file = nullptr;
    const StoredTensor* tensor = nullptr;
  };

  /// Opens the folder's safetensors files and finds the parameters of `layout`. Throws Error (checkpoint, "missing" or "F42") as
  /// load_weights() does for the same folder.
  StoredWeights(const ModelFolder& folder, const ParamLayout& layout);
  StoredWeights(const RerankerFolder& folder, const ParamLayout& layout);

  /// Null where the folder does not have it, see absent().
  const Place* find(std::string_view param) const;
  /// What load_weights() returns: parameters that the folder does not have, and need not have.
  const std::vector<std::string>& absent() const { return absent_; }
  /// model.safetensors, and that of the dense module where there is one.
  std::vector<std::filesystem::path> files() const;

 private:
  const SafetensorsReader& open(const std::filesystem::path& folder);
  void add(const SafetensorsReader& file, const StoredTensor& tensor, const Param& param);
  void add_dense(const std::filesystem::path& folder, const ParamLayout& layout);

  std::vector<std::unique_ptr<SafetensorsReader>> files_;
  std::map<std::string, Place, std::less<>> places_;
  std::vector<std::string> absent_;
};

}  // namespace lodestone
