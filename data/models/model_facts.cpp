#include "data/models/model_facts.h"

#include <charconv>

#include "core/error.h"

namespace lodestone {

namespace {

/// The shortest text that reads as the same number.
std::string exact(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

const char* truth(bool value) { return value ? "true" : "false"; }

}  // namespace

std::string model_facts(const EncoderConfig& c) {
  return cat("model_type: ", name_of(c.type), "\nvocab_size: ", c.vocab, "\nhidden_size: ", c.hidden, "\nnum_hidden_layers: ", c.layers,
             "\nnum_attention_heads: ", c.heads, "\nintermediate_size: ", c.feed_forward, "\nmax_position_embeddings: ", c.positions,
             "\nfirst_position: ", c.first_position, "\ntype_vocab_size: ", c.types, "\nhidden_act: ", name_of(c.activation),
             "\nlayer_norm_eps: ", exact(c.layer_norm_eps), "\nhidden_dropout_prob: ", exact(c.hidden_dropout),
             "\nattention_probs_dropout_prob: ", exact(c.attention_dropout), "\ninitializer_range: ", exact(c.initializer_range), "\n");
}

std::string model_facts(const EmbedderConfig& c) {
  std::string facts = cat(model_facts(c.encoder), "pooling: ", name_of(c.pooling), "\nnormalize: ", truth(c.normalize), "\n");
  if (c.head)
    facts += cat("dense_out_features: ", c.head->out_features, "\ndense_bias: ", truth(c.head->bias),
                 "\ndense_activation: ", name_of(c.head->squash), "\n");
  return facts;
}

std::string model_facts(const RerankerConfig& c) {
  return cat(model_facts(c.encoder), "classifier_dropout: ", exact(c.classifier_dropout), "\n");
}

std::string model_facts(const ModelFolder& folder) {
  return cat(model_facts(folder.config), "similarity_fn_name: ", name_of(folder.raw_similarity()), "\n");
}

std::string folder_facts(const ModelFolder& folder) {
  std::string facts =
      cat(model_facts(folder), "max_seq_length: ", folder.max_seq_length, "\ndefault_prompt_name: ", folder.default_prompt, "\n");
  for (const auto& [name, prompt] : folder.prompts) facts += cat("prompt ", name, ": ", prompt, "\n");
  return facts;
}

}  // namespace lodestone
