// Reads the parameters of one model in pieces, out of a folder's files or a checkpoint's parts.
#pragma once

#include <span>
#include <string>

#include "data/models/stored_weights.h"
#include "launch/weights/found_weights.h"

namespace lodestone {

class WeightReader {
 public:
  /// Opens what was found as an embedder or as a reranker. Throws Error (checkpoint) as load_weights() and load_checkpoint() do.
  WeightReader(FoundWeights found, const ModelFolder& model);
  WeightReader(FoundWeights found, const RerankerFolder& model);

  const FoundWeights& found() const { return found_; }
  /// All that the model has; of a RetroMAE's checkpoint the decoder and the head too.
  const ParamLayout& layout() const { return layout_; }
  /// out = the values of `params`, which follow one another in the layout. Throws Error (checkpoint) for what is damaged or not finite.
  void read(std::span<const Param* const> params, std::span<double> out) const;
  /// In which dtype it is stored, by the format's name; "F32" of a checkpoint, whose f64 an export rounds.
  std::string dtype(const Param& param) const;
  /// The file in which it is stored, or the checkpoint.
  std::filesystem::path file(const Param& param) const;
  /// What holds the weights, with what tells them from others: of files (name, XXH3-64), of a checkpoint ("save_id", its id).
  std::vector<std::pair<std::string, std::string>> hashes() const;

 private:
  void read_checkpoint(Slice wanted, std::span<double> out) const;

  FoundWeights found_;
  ParamLayout layout_;
  std::optional<StoredWeights> stored_;  // of a folder
};

}  // namespace lodestone
