// RetroMaeObjective: masked-language-model losses of an encoder and of a decoder that sees the text through one sentence vector.
#pragma once

#include "comm/communicator.h"
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
  RetroMaeObjective(const Encoder& encoder, const ParamStore& params, Communicator& group, const RetroMaeOptions& options,
                    int64_t chunk_tokens, MlmTile tile = {});
  double accumulate(Exec ex, const Batch& batch, double weight, Tensor grads, const GradHook& ready) override;
  double evaluate(Exec ex, const Batch& batch) override;

  /// Bytes of the arena that a chunk of `tokens` tokens in `texts` texts needs, at most: counted as if all tokens were predicted.
  size_t chunk_bytes(const Exec& ex, int64_t tokens, int64_t texts) const;

  /// This rank's shares of L_enc and L_dec in the last call, before decoder_weight; their sums over ranks are the two means.
  struct Shares {
    double encoder = 0, decoder = 0;
  };
  const Shares& shares() const { return shares_; }

 private:
  /// What one predicted token counts in either mean: 1 / the targets of all ranks, 0 where there is none.
  struct Scales {
    double encoder = 0, decoder = 0;
  };
  Scales scales(const Batch& batch) const;
  /// Makes chunk c the current one; returns its tokens.
  TokenBatch open_chunk(const Batch& batch, int64_t c);
  double total() const { return shares_.encoder + options_.decoder_weight * shares_.decoder; }

  void train_chunk(Exec& ex, const TokenBatch& tokens, const Scales& scales, double weight, Tensor grads, const GradHook& ready);
  /// The decoder's forward and backward; d_hidden's rows of [CLS] are set. Returns the sum of its targets' losses.
  double train_decoder(Exec& ex, const TokenBatch& tokens, const Activation& hidden, double weight, const Activation& d_hidden,
                       Tensor grads);
  /// The head on the rows named by targets; their rows of d_rows are set to weight * gradient. Returns the sum of the losses.
  double train_head(Exec& ex, const Activation& rows, const Targets& targets, double weight, const Activation& d_rows, Tensor grads);
  void evaluate_chunk(Exec& ex, const TokenBatch& tokens, const Scales& scales);
  double head_value(Exec& ex, const Activation& rows, const Targets& targets);
  /// The chosen rows as a matrix of their own.
  Activation chosen(Exec& ex, const Activation& rows, const Targets& targets) const;
  /// Last hidden states at [CLS], in the wide dtype.   [B,H]
  Tensor sentences(Exec& ex, const TokenBatch& tokens, const Activation& hidden) const;

  const Encoder& encoder_;
  const ParamStore& params_;
  Communicator& group_;
  RetroMaeOptions options_;
  int64_t chunk_tokens_;
  MlmDecoder decoder_;
  MlmHead head_;
  LengthChunks chunks_;
  MaskedChunk chunk_;
  Shares shares_;
};

}  // namespace lodestone
