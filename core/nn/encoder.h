// Encoder: ragged tokens to sentence vectors, for BERT-family models, with its explicit backward.
#pragma once

#include <functional>
#include <vector>

#include "core/nn/block.h"
#include "core/nn/config.h"
#include "core/nn/embedding.h"
#include "core/nn/head.h"

namespace lodestone {

enum class Checkpointing : uint8_t { none, per_block };  // per_block: keep block inputs only, recompute the rest in backward

/// Names, shapes and order of all parameters: embeddings, blocks first to last, head; each of them one contiguous slice. Names are
/// Hugging Face's BertModel names; the head's are "head.weight" [E,H] and "head.bias" [E]. A block begins with query.weight,
/// key.weight, value.weight, query.bias, key.bias, value.bias, so that the first three are one [3H,H] matrix.
ParamLayout embedder_layout(const EmbedderConfig& config);

/// Normal(0, initializer_range) for matrices, 1 for LayerNorm weights, 0 for biases; a function of (seed, name, element).
/// Sets the masters, which lie in the host's memory; call params.refresh() afterwards.
void initialize_parameters(const EmbedderConfig& config, ParamStore& params, uint64_t seed);

/// What backward needs of one forward, in its arena; trivially destructible.
struct EncoderSaved {
  Embedding::Saved embedding;
  Head::Saved head;
  std::span<Activation> inputs;  // [L+1] input of each block, then the output of the last
  std::span<BlockSaved> blocks;  // [L], or empty when blocks are recomputed
};

class Encoder {
 public:
  /// `params` must have the layout of embedder_layout(config) and outlive the encoder.
  Encoder(const EmbedderConfig& config, const ParamStore& params, Checkpointing checkpointing = Checkpointing::none);

  const EmbedderConfig& config() const { return config_; }

  // What a pass enqueues is a stretch that the backend may replay (Backend::replay), but where parameters are yet to arrive; where somebody
  // waits for slices of the gradient, each of them is one.

  /// emb [B,E] (wide dtype, un-normalised) = head(pool(blocks(embed(tokens)))), of filled texts only those that were given. ex.key names
  /// masks of dropout beside the texts' keys; dropout is off when texts.keys is empty. Throws Error (internal) on a text that is empty or
  /// longer than the position table, and on ids outside the vocabulary. No text at all is allowed.
  void forward(Exec& ex, const DeviceTexts& texts, Tensor emb) const;
  /// The same values; activations stay in ex.arena until the caller's scope ends, and the result can be given to backward once.
  EncoderSaved* forward_saved(Exec& ex, const DeviceTexts& texts, Tensor emb) const;
  /// grads (flat, wide dtype, laid out as params) +=; texts and ex.key as given to forward_saved. ready(slice), where given, is
  /// called once for the head, each block from the last to the first, and the embeddings, when nothing later in this call adds to
  /// that slice; together the slices are all parameters.
  void backward(Exec& ex, const DeviceTexts& texts, EncoderSaved* saved, ConstTensor d_emb, Tensor grads,
                const std::function<void(Slice)>& ready) const;

  /// The two without pooling and head: the vectors of all tokens [S,H] are saved->inputs.back().
  EncoderSaved* forward_tokens(Exec& ex, const DeviceTexts& texts) const;
  /// d [S,H] = dL/d token vectors, padding rows zero, is overwritten. ready is called as by backward, but not for the head.
  void backward_tokens(Exec& ex, const DeviceTexts& texts, EncoderSaved* saved, const Activation& d, Tensor grads,
                       const std::function<void(Slice)>& ready) const;

 private:
  enum class Pass : uint8_t { forward, forward_saved, forward_tokens, backward, backward_tokens, backward_head, backward_part };
  struct Stretch {
    Pass pass{};
    size_t part = 0;  // of a backward pass: each block from the last to the first, then the embeddings
  };

  void check(const DeviceTexts& texts) const;
  EncoderSaved* take_tokens(Exec& ex, const DeviceTexts& texts) const;
  void run_tokens(Exec& ex, const DeviceTexts& texts, const EncoderSaved& saved) const;
  void backward_part(Exec& ex, size_t part, const DeviceTexts& texts, const EncoderSaved* saved, const Activation& d, Tensor grads) const;
  /// operations(), or what it enqueued before for the same texts and operands.
  template <class Operations>
  void replay(Exec& ex, Stretch stretch, const DeviceTexts& texts, std::initializer_list<ConstTensor> operands,
              const Operations& operations) const;

  const uint64_t number_;  // of this encoder in the process: two that come to lie at one address are not one
  EmbedderConfig config_;
  const ParamStore& params_;
  Checkpointing checkpointing_;
  Embedding embedding_;
  std::vector<Block> blocks_;
  Head head_;
};

}  // namespace lodestone
