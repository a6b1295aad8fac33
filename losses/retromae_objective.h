// RetroMaeObjective: masked-language-model losses of an encoder and of a decoder that sees the text through one sentence vector.
#pragma once

#include "core/length_chunks.h"
#include "core/nn/encoder.h"
#include "core/nn/mlm_decoder.h"
#include "core/nn/mlm_head.h"
#include "losses/masked_chunk.h"
#include "losses/objective.h"

namespace lodestone {

/// L = L_enc + decoder_weight L_dec (Xiao et al. 2022). L_enc is the mean cross-entropy of the tokens masked in the encoder's input,
/// L_dec that of the decoder's targets, whose sentence vector is the encoder's output at [CLS]. Both means are over all ranks: the two
/// counts are summed over `group`, once a batch. Texts go through in chunks, each forward and backward at once, so that memory is
/// that of one chunk; the result does not depend on ranks or chunks beyond rounding.
class RetroMaeObjective final : public Objective {
 public:
  /// `params` has the layout of retromae_layout(encoder.config()); all three must outlive the objective. Pooling is not used: the
  /// sentence vector is always the first token's. Throws Error (usage) for a negative decoder_weight.
  RetroMaeObjective(const Encoder& encoder, const ParamStore& params, const Group& group, const RetroMaeOptions& options,
                    int64_t chunk_tokens, MlmTile tile = {});
  LossResult accumulate(Exec ex, const Batch& batch, double weight, Tensor grads, Tensor share, const GradHook& ready) override;
  void evaluate(Exec ex, const Batch& batch, Tensor share) override;
  /// This rank's shares of L_enc and of L_dec, before decoder_weight, are added into shares [2] f64: their sums over ranks are the two
  /// means.
  void evaluate_both(Exec ex, const Batch& batch, Tensor shares);

 private:
  /// What one predicted token counts in either mean: 1 / the targets of all ranks, 0 where there is none.
  struct Scales {
    double encoder = 0, decoder = 0;
  };
  Scales scales(const Batch& batch) const;
  /// Makes chunk c the current one of chunk_.
  void open_chunk(const Batch& batch, int64_t c);
  /// share += weight * (encoder + decoder_weight * decoder) of shares [2].
  void add_total(Exec& ex, ConstTensor shares, double weight, Tensor share) const;

  /// Forward and backward of a chunk, which may be without texts; its losses are added into shares [2].
  void train_chunk(Exec& ex, const DeviceMaskedTexts& chunk, const Scales& scales, double weight, Tensor grads, Tensor shares,
                   const GradHook& ready);
  /// The decoder's forward and backward; d_hidden's rows of [CLS] are set. total += the sum of its targets' losses.
  void train_decoder(Exec& ex, const DeviceMaskedTexts& chunk, const Activation& hidden, double weight, const Activation& d_hidden,
                     Tensor grads, Tensor total);
  /// The head on the rows named by targets; their rows of d_rows are set to weight * gradient. total += the sum of the losses.
  void train_head(Exec& ex, const Activation& rows, const Targets& targets, double weight, const Activation& d_rows, Tensor grads,
                  Tensor total);
  void evaluate_chunk(Exec& ex, const DeviceMaskedTexts& chunk, const Scales& scales, Tensor shares);
  /// total += the sum of the targets' losses.
  void head_value(Exec& ex, const Activation& rows, const Targets& targets, Tensor total);
  /// The chosen rows as a matrix of their own.
  Activation chosen(Exec& ex, const Activation& rows, const Targets& targets) const;
  /// Last hidden states at [CLS], in the wide dtype.   [B,H]
  Tensor sentences(Exec& ex, const DeviceTexts& texts, const Activation& hidden) const;

  const Encoder& encoder_;
  const ParamStore& params_;
  Group group_;
  RetroMaeOptions options_;
  int64_t chunk_tokens_;
  MlmDecoder decoder_;
  MlmHead head_;
  LengthChunks chunks_;
  MaskedChunk chunk_;
};

}  // namespace lodestone
