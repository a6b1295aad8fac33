// Model folders for tests: a small layout written out by hand, its values, and files on disk.
#pragma once

#include <filesystem>
#include <string>

#include "core/nn/encoder.h"
#include "core/params.h"
#include "core/rng.h"
#include "tests/support/text_file.h"

namespace lodestone::test {

inline EmbedderConfig tiny_config() {
  EmbedderConfig c;
  c.encoder = {.vocab = 12, .hidden = 8, .layers = 2, .heads = 2, .feed_forward = 16, .positions = 10, .types = 2};
  return c;
}

/// Hugging Face's names and shapes, written out here independently of the encoder.
inline ParamLayout tiny_layout(const EmbedderConfig& c) {
  const int64_t H = c.encoder.hidden, F = c.encoder.feed_forward;
  ParamLayout layout;
  const auto norm = [&](const std::string& name) {
    layout.add(name + ".weight", {H}, Decay::no);
    layout.add(name + ".bias", {H}, Decay::no);
  };
  const auto linear = [&](const std::string& name, int64_t out, int64_t in) {
    layout.add(name + ".weight", {out, in}, Decay::yes);
    layout.add(name + ".bias", {out}, Decay::no);
  };
  layout.add("embeddings.word_embeddings.weight", {c.encoder.vocab, H}, Decay::yes);
  layout.add("embeddings.position_embeddings.weight", {c.encoder.positions, H}, Decay::yes);
  layout.add("embeddings.token_type_embeddings.weight", {c.encoder.types, H}, Decay::yes);
  norm("embeddings.LayerNorm");
  for (int64_t l = 0; l < c.encoder.layers; ++l) {
    const std::string p = cat("encoder.layer.", l, ".");
    for (const char* part : {"query", "key", "value"}) linear(p + "attention.self." + part, H, H);
    linear(p + "attention.output.dense", H, H);
    norm(p + "attention.output.LayerNorm");
    linear(p + "intermediate.dense", F, H);
    linear(p + "output.dense", H, F);
    norm(p + "output.LayerNorm");
  }
  if (c.head) {
    layout.add("head.weight", {c.head->out_features, H}, Decay::yes);
    if (c.head->bias) layout.add("head.bias", {c.head->out_features}, Decay::no);
  }
  return layout;
}

/// Different finite values everywhere, about a tenth in size.
inline void fill_params(ParamStore& params, uint64_t seed) {
  const Key key = Key(seed).with("values");
  const auto value = [&](size_t i) { return 0.2 * key.uniform(i) - 0.1; };
  if (params.wide_dtype() == DType::f64)
    for (size_t i = 0; double& x : params.masters().host<double>()) x = value(i++);
  else
    for (size_t i = 0; float& x : params.masters().host<float>()) x = static_cast<float>(value(i++));
}

inline const char* const tiny_vocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\nb\nc\n##a\n##b\n.\nword\n";

inline const char* const tiny_config_json = R"({"model_type": "bert", "hidden_act": "gelu", "vocab_size": 12, "hidden_size": 8,
  "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 10, "type_vocab_size": 2,
  "layer_norm_eps": 1e-12, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "initializer_range": 0.02, "pad_token_id": 0})";

}  // namespace lodestone::test
