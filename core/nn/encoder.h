// Encoder: ragged tokens to sentence vectors, for BERT-family models, with its explicit backward.
#pragma once

#include <functional>
#include <optional>

#include "core/exec.h"
#include "core/params.h"

namespace lodestone {

/// Shape of a BERT-family model, as in config.json.
struct EncoderConfig {
  int64_t vocab = 30522, hidden = 384, layers = 6, heads = 12, feed_forward = 1536, positions = 512, types = 2;
  double layer_norm_eps = 1e-12, hidden_dropout = 0.1, attention_dropout = 0.1, initializer_range = 0.02;
};

/// A dense layer behind pooling (2_Dense): y = activation(x weight^T + bias).
struct HeadConfig {
  int64_t out_features = 0;
  bool bias = true;
  bool tanh = false;    // identity otherwise
};

struct EmbedderConfig {
  EncoderConfig encoder;
  Pooling pooling = Pooling::mean;
  std::optional<HeadConfig> head;
  bool normalize = true;              // L2-normalise at inference (a Normalize module); losses always normalise themselves
  int64_t embedding() const { return head ? head->out_features : encoder.hidden; }
};

enum class Checkpointing : uint8_t { none, per_block };  // per_block: keep block inputs only, recompute the rest in backward

/// Parameter names are Hugging Face's BertModel names; the head's are "head.weight" [E,H] and "head.bias" [E].
ParamLayout embedder_layout(const EmbedderConfig& config);

/// Normal(0, initializer_range) for matrices, 1 for LayerNorm weights, 0 for biases; a function of (seed, name, element).
void initialize_parameters(const EmbedderConfig& config, ParamStore& params, uint64_t seed);

/// What backward needs, in the arena of the forward call; valid until its scope ends.
struct EncoderSaved;

class Encoder {
 public:
  Encoder(EmbedderConfig config, const ParamStore& params, Checkpointing checkpointing = Checkpointing::none);
  ~Encoder();

  const EmbedderConfig& config() const { return config_; }

  /// emb [B,E] (wide dtype, un-normalised) = head(pool(blocks(embed(tokens)))).
  /// ex.key names the step for dropout; dropout is off when tokens.keys is empty.
  /// With keep: activations stay in ex.arena until the caller's scope ends and the result can be given to backward once.
  void forward(Exec& ex, const TokenBatch& tokens, Tensor emb) const;                      // inference, first GradCache pass
  EncoderSaved* forward_saved(Exec& ex, const TokenBatch& tokens, Tensor emb) const;       // owned by ex.arena
  /// grads (flat, wide dtype, laid out as params) += ; ready(slice) is called for each range of parameters, last layer first,
  /// when nothing later in this backward adds to it.
  void backward(Exec& ex, const TokenBatch& tokens, EncoderSaved* saved, ConstTensor d_emb, Tensor grads,
                const std::function<void(Slice)>& ready) const;

  /// Bytes of arena that forward_saved() keeps, and that the calls need on top, for a chunk of `tokens` tokens in `texts` texts.
  size_t saved_bytes(int64_t tokens, int64_t texts, DType compute) const;
  size_t work_bytes(int64_t tokens, int64_t texts, DType compute) const;

 private:
  EmbedderConfig config_;
  const ParamStore& params_;
  Checkpointing checkpointing_;
};

}  // namespace lodestone
