// Reranker: pairs of texts to scores, an encoder with BERT's pooler and a linear score (a cross-encoder), with its backward.
#pragma once

#include "core/nn/encoder.h"
#include "core/nn/score_head.h"

namespace lodestone {

/// The encoder's parameters as in embedder_layout(), then "pooler.dense.weight" [H,H], "pooler.dense.bias" [H], "classifier.weight"
/// [1,H] and "classifier.bias" [1]. In files the names are Hugging Face's: "bert." stands before all but the classifier's.
/// Starting values: initialize_parameters(config.body(), ...).
ParamLayout reranker_layout(const RerankerConfig& config);

/// What backward needs of one forward, in its arena; trivially destructible.
struct RerankerSaved {
  EncoderSaved* encoder = nullptr;
  ScoreHead::Saved head;
};

class Reranker {
 public:
  /// `params` must have the layout of reranker_layout(config) and outlive the reranker.
  Reranker(RerankerConfig config, const ParamStore& params, Checkpointing checkpointing = Checkpointing::none);

  const RerankerConfig& config() const { return config_; }

  /// scores [B] (wide dtype, unbounded) of the pairs in `texts`, whose second text begins at texts.second. Dropout, errors and
  /// the empty batch are as Encoder::forward has them.
  void forward(Exec& ex, const DeviceTexts& texts, Tensor scores) const;
  /// The same values; activations stay in ex.arena until the caller's scope ends, and the result can be given to backward once.
  RerankerSaved forward_saved(Exec& ex, const DeviceTexts& texts, Tensor scores) const;
  /// grads (flat, wide dtype, laid out as params) +=; texts and ex.key as given to forward_saved; d_scores [B]. ready(slice) is
  /// called as Encoder::backward does it, first for the score head.
  void backward(Exec& ex, const DeviceTexts& texts, const RerankerSaved& saved, ConstTensor d_scores, Tensor grads,
                const std::function<void(Slice)>& ready) const;

 private:
  RerankerConfig config_;
  const ParamStore& params_;
  Encoder encoder_;
  ScoreHead head_;
};

}  // namespace lodestone
