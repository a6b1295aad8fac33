// What an embedder or a reranker looks like: the shape of its encoder, its pooling and its head.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/backend.h"

namespace lodestone {

/// What follows the dense layers inside the encoder (core/nn/hidden_activation.h).
enum class HiddenActivation : uint8_t {
  gelu,  // exact (erf)
};

constexpr std::string_view name_of(HiddenActivation value) {
  switch (value) {
    case HiddenActivation::gelu:
      return "gelu";
  }
  return {};
}

/// What follows the dense layer behind pooling.
enum class Squash : uint8_t { identity, tanh };

constexpr std::string_view name_of(Squash value) {
  switch (value) {
    case Squash::identity:
      return "identity";
    case Squash::tanh:
      return "tanh";
  }
  return {};
}

/// Which family of models an encoder is of: what Hugging Face calls its model_type.
enum class ModelType : uint8_t { bert };

constexpr std::string_view name_of(ModelType value) {
  switch (value) {
    case ModelType::bert:
      return "bert";
  }
  return {};
}

/// Shape of a BERT-family model, as in config.json.
struct EncoderConfig {
  int64_t vocab = 30522, hidden = 384, layers = 6, heads = 12, feed_forward = 1536, positions = 512, types = 2;
  double layer_norm_eps = 1e-12, hidden_dropout = 0.1, attention_dropout = 0.1, initializer_range = 0.02;
  HiddenActivation activation = HiddenActivation::gelu;
  ModelType type = ModelType::bert;
  int64_t first_position = 0;  // row of the position table that a text's first token has; rows before it are not read
  int64_t longest_text() const { return positions - first_position; }
};

/// A dense layer behind pooling (2_Dense): y = squash(x weight^T + bias).
struct HeadConfig {
  int64_t out_features = 0;
  bool bias = true;
  Squash squash = Squash::identity;
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
    return {encoder, Pooling::cls, HeadConfig{.out_features = encoder.hidden, .bias = true, .squash = Squash::tanh}, false};
  }
};

}  // namespace lodestone
