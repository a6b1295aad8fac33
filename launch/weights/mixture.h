// A weighted sum of several models' parameters: which models go together, its values, and its folder.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "data/models/model_files.h"
#include "launch/weights/weight_reader.h"

namespace lodestone {

/// theta = sum_m weights[m] theta_m, for every parameter (Xiao et al. 2023, LM-Cocktail, eq. 1; Wortsman et al. 2022, Model soups). Sums
/// are of f64, in the order of the models; a model of weight 0 is not read, so that weights 1, 0 give the first one's bits.
class Mixture {
 public:
  /// The first model says what the result is besides its weights: configuration, tokenizer, prompts, dtype of each tensor. Throws Error
  /// (checkpoint) that names the first difference unless all have its tokenizer, its tensors and shapes, and compute alike; pooling and
  /// normalisation count where a folder says them. Rerankers mix with rerankers.
  explicit Mixture(std::vector<FoundWeights> found);

  size_t size() const { return models_.size(); }
  const WeightReader& model(size_t index) const { return models_[index]; }
  /// Of the first model: one of the two.
  const std::optional<ModelFolder>& embedder() const { return embedder_; }
  const std::optional<RerankerFolder>& reranker() const { return reranker_; }
  /// The fingerprint of the tokenizer that all have.
  uint64_t tokenizer() const { return tokenizer_; }
  /// What is mixed: all parameters of an embedder or a reranker.
  const ParamLayout& layout() const { return layout_; }

  /// Calls use(param, values) for each of these parameters in their order; values are the sum's. In memory is a piece of 2^24 values, or
  /// one tensor that has more, twice.
  using Use = std::function<void(const Param& param, std::span<const double> values)>;
  void for_each(std::span<const Param* const> params, std::span<const double> weights, const Use& use) const;
  /// Sets the masters of `host`, of this layout, which the host reads.
  void fill(std::span<const double> weights, ParamStore& host) const;
  /// Writes `path` as export does, each tensor in the dtype that the first model has it in, and merge.json with the text `report` beside
  /// it. An embedder's pooler, which no vector needs, is mixed where all models have one; otherwise it is left out. `path` must not exist
  /// (Error, usage); Error (numerical, "F44") when a value of the sum is not finite.
  void write(const std::filesystem::path& path, std::span<const double> weights, const ModelCard& card, const std::string& report) const;

 private:
  void add_embedder(FoundWeights found);
  void add_reranker(FoundWeights found);
  void require_alike(const WeightReader& model, const std::string& facts) const;
  void write_weights(const std::filesystem::path& folder, std::span<const double> weights) const;
  void mix(std::span<const double> weights, std::span<const Param* const> params, std::vector<double>& sum,
           std::vector<double>& values) const;

  std::optional<ModelFolder> embedder_;
  std::optional<RerankerFolder> reranker_;
  uint64_t tokenizer_ = 0;  // the first one's fingerprint
  std::string facts_;       // what the first one computes
  ParamLayout layout_;
  std::vector<WeightReader> models_;
};

}  // namespace lodestone
