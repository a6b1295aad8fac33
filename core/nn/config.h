// What an embedder or a reranker looks like: the shape of its encoder, its pooling and its head.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/backend.h"

namespace lodestone {

/// As configurations name it.
constexpr std::string_view name_of(Pooling value) {
  switch (value) {
    case Pooling::cls:
      return "cls";
    case Pooling::mean:
      return "mean";
    case Pooling::last_token:
      return "last_token";
  }
  return {};
}

/// Shape of a BERT-family model, as in config.json.
struct EncoderConfig {
  int64_t vocab = 30522, hidden = 384, layers = 6, heads = 12, feed_forward = 1536, positions = 512, types = 2;
  double layer_norm_eps = 1e-12, hidden_dropout = 0.1, attention_dropout = 0.1, initializer_range = 0.02;
};

/// A dense layer behind pooling (2_Dense): y = activation(x weight^T + bias).
struct HeadConfig {
  int64_t out_features = 0;
  bool bias = true;
  bool tanh = false;  // identity otherwise
};

struct EmbedderConfig {
  EncoderConfig encoder;
  Pooling pooling = Pooling::mean;
  std::optional<HeadConfig> head;
  bool normalize = true;  // L2-normalise at inference (a Normalize module); losses always normalise themselves
  int64_t embedding() const { return head ? head->out_features : encoder.hidden; }
};

/// A cross-encoder: BERT's pooler tanh(dense([CLS])) behind the encoder, and a linear score behind dropout.
struct RerankerConfig {
  EncoderConfig encoder;
  double classifier_dropout = 0.1;
  /// Encoder and pooler as an embedder whose vector the score is computed from.
  EmbedderConfig body() const {
    return {encoder, Pooling::cls, HeadConfig{.out_features = encoder.hidden, .bias = true, .tanh = true}, false};
  }
};

}  // namespace lodestone
