// RetroMAE (Xiao et al. 2022): its options, and the parameters it adds to an embedder's.
#pragma once

#include <string_view>

#include "core/nn/config.h"
#include "core/params.h"

namespace lodestone {

/// How the decoder reconstructs a text from its sentence vector.
enum class Decoding : uint8_t {
  enhanced,  // two streams: every token is predicted, each from another visible part of the text
  basic,     // one stream whose masked tokens are predicted
};

/// As configurations name it.
constexpr std::string_view name_of(Decoding value) {
  switch (value) {
    case Decoding::enhanced:
      return "enhanced";
    case Decoding::basic:
      return "basic";
  }
  return {};
}

/// What the enhanced decoder's queries are made of at position i.
enum class QueryStream : uint8_t {
  embed_block,  // the embedding block with the sentence vector for a word: dropout(layer_norm(vector + position_i + type 0))
  add,          // vector + position_i
};

/// As configurations name it.
constexpr std::string_view name_of(QueryStream value) {
  switch (value) {
    case QueryStream::embed_block:
      return "embed_block";
    case QueryStream::add:
      return "add";
  }
  return {};
}

struct RetroMaeOptions {
  double encoder_mlm_probability = 0.3, decoder_mlm_probability = 0.5;  // share of a text's tokens that are masked
  QueryStream h1_mode = QueryStream::embed_block;
  Decoding decoding = Decoding::enhanced;
  double decoder_weight = 1;  // of the decoder's loss; 0: plain masked language modelling
};

/// What the decoder layer's parameters are called; the rest of their names is that of an encoder layer.
inline constexpr const char* retromae_decoder_prefix = "decoder.layer.0.";

/// embedder_layout(config), then the decoder layer, then the masked-language-model head under Hugging Face's names
/// ("cls.predictions. ..."). The head's product uses the word embeddings, which are not stored a second time.
/// Throws Error (usage, "config") for a model with a dense head. initialize_parameters() knows these parameters too.
ParamLayout retromae_layout(const EmbedderConfig& config);

}  // namespace lodestone
