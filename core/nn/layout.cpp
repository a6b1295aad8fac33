#include "core/nn/layout.h"

#include "core/nn/reranker.h"

namespace lodestone {

namespace {

std::string block_prefix(int64_t layer) { return cat("encoder.layer.", layer, "."); }

void add_norm(ParamLayout& layout, const std::string& prefix, int64_t hidden) {
  layout.add(prefix + "LayerNorm.weight", {hidden}, Decay::no);
  layout.add(prefix + "LayerNorm.bias", {hidden}, Decay::no);
}

void add_dense(ParamLayout& layout, const std::string& prefix, int64_t out, int64_t in) {
  layout.add(prefix + "dense.weight", {out, in}, Decay::yes);
  layout.add(prefix + "dense.bias", {out}, Decay::no);
}

/// From the first to the last of two parameters and all between.
Slice span_of(const ParamLayout& layout, const std::string& first, const std::string& last) {
  return {layout.find(first).slice.begin, layout.find(last).slice.end};
}

Linear dense(const ParamLayout& layout, const std::string& prefix) {
  const Param& weight = layout.find(prefix + "dense.weight");
  return Linear(weight.shape[1], weight.shape[0], weight.slice, layout.find(prefix + "dense.bias").slice);
}

NormParams norm_params(const ParamLayout& layout, const std::string& prefix, double eps) {
  return {layout.find(prefix + "LayerNorm.weight").slice, layout.find(prefix + "LayerNorm.bias").slice, eps};
}

/// Embeddings and blocks.
ParamLayout encoder_layout(const EncoderConfig& c) {
  const int64_t H = c.hidden, F = c.feed_forward;
  LODE_CHECK(c.heads >= 1 && H % c.heads == 0, "hidden size ", H, " is not divisible by ", c.heads, " attention heads");
  ParamLayout layout;
  layout.add("embeddings.word_embeddings.weight", {c.vocab, H}, Decay::yes);
  layout.add("embeddings.position_embeddings.weight", {c.positions, H}, Decay::yes);
  layout.add("embeddings.token_type_embeddings.weight", {c.types, H}, Decay::yes);
  add_norm(layout, "embeddings.", H);
  for (int64_t l = 0; l < c.layers; ++l) {
    const std::string block = block_prefix(l), self = block + "attention.self.";
    for (const char* name : {"query", "key", "value"}) layout.add(self + name + ".weight", {H, H}, Decay::yes);
    for (const char* name : {"query", "key", "value"}) layout.add(self + name + ".bias", {H}, Decay::no);
    add_dense(layout, block + "attention.output.", H, H);
    add_norm(layout, block + "attention.output.", H);
    add_dense(layout, block + "intermediate.", F, H);
    add_dense(layout, block + "output.", H, F);
    add_norm(layout, block + "output.", H);
  }
  return layout;
}

}  // namespace

ParamLayout embedder_layout(const EmbedderConfig& config) {
  ParamLayout layout = encoder_layout(config.encoder);
  if (config.head) {
    layout.add("head.weight", {config.head->out_features, config.encoder.hidden}, Decay::yes);
    if (config.head->bias) layout.add("head.bias", {config.head->out_features}, Decay::no);
  }
  return layout;
}

ParamLayout reranker_layout(const RerankerConfig& config) {
  const int64_t H = config.encoder.hidden;
  ParamLayout layout = encoder_layout(config.encoder);
  add_dense(layout, "pooler.", H, H);
  layout.add("classifier.weight", {1, H}, Decay::yes);
  layout.add("classifier.bias", {1}, Decay::no);
  return layout;
}

Embedding make_embedding(const EncoderConfig& config, const ParamLayout& layout) {
  const NormParams norm = norm_params(layout, "embeddings.", config.layer_norm_eps);
  const std::string word = "embeddings.word_embeddings.weight";
  return Embedding(layout.find(word).slice, layout.find("embeddings.position_embeddings.weight").slice,
                   layout.find("embeddings.token_type_embeddings.weight").slice, norm,
                   span_of(layout, word, "embeddings.LayerNorm.bias"), config.hidden, config.hidden_dropout);
}

Block make_block(const EncoderConfig& config, const ParamLayout& layout, int64_t layer) {
  const std::string block = block_prefix(layer), self = block + "attention.self.", attention = block + "attention.output.";
  const int64_t H = config.hidden;
  const Linear qkv(H, 3 * H, span_of(layout, self + "query.weight", self + "value.weight"),
                   span_of(layout, self + "query.bias", self + "value.bias"));
  const ResidualNorm first(norm_params(layout, attention, config.layer_norm_eps), config.hidden_dropout, layer, Place::attention_output);
  const ResidualNorm second(norm_params(layout, block + "output.", config.layer_norm_eps), config.hidden_dropout, layer,
                            Place::feed_forward_output);
  return Block(SelfAttention(qkv, dense(layout, attention), first, config.heads, config.attention_dropout, layer),
               Mlp(dense(layout, block + "intermediate."), dense(layout, block + "output."), second),
               span_of(layout, self + "query.weight", block + "output.LayerNorm.bias"));
}

Head make_head(const EmbedderConfig& config, const ParamLayout& layout) {
  const int64_t H = config.encoder.hidden;
  if (!config.head) return Head(config.pooling, H, std::nullopt, Squash::identity, {});
  const std::string name = layout.contains("pooler.dense.weight") ? "pooler.dense." : "head.";
  const Slice weight = layout.find(name + "weight").slice;
  const Slice bias = config.head->bias ? layout.find(name + "bias").slice : Slice{};
  return Head(config.pooling, H, Linear(H, config.head->out_features, weight, bias),
              config.head->tanh ? Squash::tanh : Squash::identity, {weight.begin, config.head->bias ? bias.end : weight.end});
}

ScoreHead make_score_head(const RerankerConfig& config, const ParamLayout& layout) {
  const Slice weight = layout.find("classifier.weight").slice, bias = layout.find("classifier.bias").slice;
  return ScoreHead(Linear(config.encoder.hidden, 1, weight, bias), config.classifier_dropout, {weight.begin, bias.end});
}

}  // namespace lodestone
