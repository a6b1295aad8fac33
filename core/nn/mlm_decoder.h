// MlmDecoder: RetroMAE's one decoder layer, from a sentence vector and tokens to vectors that predict the text, and its backward.
#pragma once

#include "core/nn/block.h"
#include "core/nn/embedding.h"
#include "core/nn/retromae.h"
#include "core/nn/two_stream_attention.h"

namespace lodestone {

/// The decoder's view of a batch.
struct DecoderTexts {
  DeviceTexts tokens;     // ids: the decoder's input, in the order of the encoder's texts
  DeviceTexts sentences;  // ids: the text that each token belongs to, so that embeddings take a row of the sentence vectors for a word
  ConstTensor places;     // [B] i64: rows of [CLS]
  DeviceMasks masks;      // of enhanced decoding; empty for basic
};

/// Enhanced decoding: queries H1 stand for "sentence vector at position i" (see QueryStream); keys and values H2 are the embedding
/// block's output of the tokens, with the sentence vector at place 0. y = mlp(two_stream_attention(H1, H2)), the residual is H1.
/// Basic decoding: y = block(H2).
/// Embeddings are the encoder's own: word, position and type tables and their norm. Their dropout masks here are others.
class MlmDecoder {
 public:
  /// Of `layout` it reads the encoder's embeddings and the layer named by retromae_decoder_prefix.
  MlmDecoder(const EncoderConfig& config, const ParamLayout& layout, Decoding decoding, QueryStream h1_mode);

  /// The decoder layer's parameters.
  Slice slice() const { return slice_; }

  /// What backward needs of one forward; parts of the other decoding stay empty.
  struct Saved {
    Embedding::Saved embedding, query_embedding;
    Activation h1, h2;  // [S,H]
    TwoStreamAttention::Saved attention;
    Activation middle;  // [S,H]
    Mlp::Saved mlp;
    BlockSaved block;
  };
  Saved take(Exec& ex, int64_t rows) const;

  /// y [S,H] from sentence [B,H] (wide dtype); fills saved. ex.key names masks of dropout beside the texts' keys.
  void forward(Exec& ex, const ParamStore& params, const DecoderTexts& texts, ConstTensor sentence, const Saved& saved,
               const Activation& y) const;
  /// d_sentence = dL/d sentence; gradients of the parameters, the embeddings' among them, are added into grads; dy is overwritten.
  void backward(Exec& ex, const ParamStore& params, const DecoderTexts& texts, const Saved& saved, const Activation& dy, Tensor d_sentence,
                Tensor grads) const;

 private:
  /// H2, or its gradient passed on; backward adds into d_sentence.
  void forward_tokens(Exec& ex, const ParamStore& params, const DecoderTexts& texts, ConstTensor sentence, const Saved& saved) const;
  void backward_tokens(Exec& ex, const ParamStore& params, const DecoderTexts& texts, const Saved& saved, const Activation& d,
                       Tensor d_sentence, Tensor grads) const;
  /// H1, likewise.
  void forward_queries(Exec& ex, const ParamStore& params, const DecoderTexts& texts, ConstTensor sentence, const Saved& saved) const;
  void backward_queries(Exec& ex, const ParamStore& params, const DecoderTexts& texts, const Saved& saved, const Activation& d,
                        Tensor d_sentence, Tensor grads) const;

  int64_t hidden_;
  Embedding embedding_;
  TwoStreamAttention attention_;  // enhanced: these two
  Mlp mlp_;
  Block block_;  // basic: this one; the parameters are the same
  Slice slice_;
  Decoding decoding_;
  QueryStream h1_mode_;
};

}  // namespace lodestone
