#include "core/nn/layout.h"

#include "core/nn/reranker.h"
#include "core/nn/retromae.h"

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

/// One transformer layer.
void add_block(ParamLayout& layout, const EncoderConfig& config, const std::string& prefix) {
  const int64_t H = config.hidden, F = config.feed_forward;
  const std::string self = prefix + "attention.self.";
  for (const char* name : {"query", "key", "value"}) layout.add(self + name + ".weight", {H, H}, Decay::yes);
  for (const char* name : {"query", "key", "value"}) layout.add(self + name + ".bias", {H}, Decay::no);
  add_dense(layout, prefix + "attention.output.", H, H);
  add_norm(layout, prefix + "attention.output.", H);
  add_dense(layout, prefix + "intermediate.", F, H);
  add_dense(layout, prefix + "output.", H, F);
  add_norm(layout, prefix + "output.", H);
}

ResidualNorm attention_norm(const EncoderConfig& config, const ParamLayout& layout, const std::string& prefix, int64_t layer) {
  return ResidualNorm(norm_params(layout, prefix + "attention.output.", config.layer_norm_eps), config.hidden_dropout, layer,
                      Place::attention_output);
}

/// Embeddings and blocks.
ParamLayout encoder_layout(const EncoderConfig& c) {
  const int64_t H = c.hidden;
  LODE_CHECK(c.heads >= 1 && H % c.heads == 0, "hidden size ", H, " is not divisible by ", c.heads, " attention heads");
  ParamLayout layout;
  layout.add("embeddings.word_embeddings.weight", {c.vocab, H}, Decay::yes);
  layout.add("embeddings.position_embeddings.weight", {c.positions, H}, Decay::yes);
  layout.add("embeddings.token_type_embeddings.weight", {c.types, H}, Decay::yes);
  add_norm(layout, "embeddings.", H);
  for (int64_t l = 0; l < c.layers; ++l) add_block(layout, c, block_prefix(l));
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

ParamLayout retromae_layout(const EmbedderConfig& config) {
  if (config.head)
    throw Error(ExitCode::usage, "config", "RetroMAE trains an encoder without a dense head", "add the head in the next stage");
  ParamLayout layout = embedder_layout(config);
  const int64_t H = config.encoder.hidden;
  add_block(layout, config.encoder, retromae_decoder_prefix);
  add_dense(layout, "cls.predictions.transform.", H, H);
  add_norm(layout, "cls.predictions.transform.", H);
  layout.add("cls.predictions.bias", {config.encoder.vocab}, Decay::no);
  return layout;
}

Embedding make_embedding(const EncoderConfig& config, const ParamLayout& layout) {
  const NormParams norm = norm_params(layout, "embeddings.", config.layer_norm_eps);
  const std::string word = "embeddings.word_embeddings.weight";
  return Embedding(layout.find(word).slice, layout.find("embeddings.position_embeddings.weight").slice, config.first_position,
                   layout.find("embeddings.token_type_embeddings.weight").slice, norm, span_of(layout, word, "embeddings.LayerNorm.bias"),
                   config.hidden, config.hidden_dropout);
}

SelfAttention make_attention(const EncoderConfig& config, const ParamLayout& layout, const std::string& prefix, int64_t layer) {
  const std::string self = prefix + "attention.self.";
  const int64_t H = config.hidden;
  const Linear qkv(H, 3 * H, span_of(layout, self + "query.weight", self + "value.weight"),
                   span_of(layout, self + "query.bias", self + "value.bias"));
  return SelfAttention(qkv, dense(layout, prefix + "attention.output."), attention_norm(config, layout, prefix, layer), config.heads,
                       config.attention_dropout, layer);
}

TwoStreamAttention make_two_stream_attention(const EncoderConfig& config, const ParamLayout& layout, const std::string& prefix,
                                             int64_t layer) {
  const std::string self = prefix + "attention.self.";
  const int64_t H = config.hidden;
  const Linear q(H, H, layout.find(self + "query.weight").slice, layout.find(self + "query.bias").slice);
  const Linear kv(H, 2 * H, span_of(layout, self + "key.weight", self + "value.weight"),
                  span_of(layout, self + "key.bias", self + "value.bias"));
  return TwoStreamAttention(q, kv, dense(layout, prefix + "attention.output."), attention_norm(config, layout, prefix, layer), config.heads,
                            config.attention_dropout, layer);
}

Mlp make_mlp(const EncoderConfig& config, const ParamLayout& layout, const std::string& prefix, int64_t layer) {
  const ResidualNorm norm(norm_params(layout, prefix + "output.", config.layer_norm_eps), config.hidden_dropout, layer,
                          Place::feed_forward_output);
  return Mlp(dense(layout, prefix + "intermediate."), dense(layout, prefix + "output."), config.activation, norm);
}

Slice block_slice(const ParamLayout& layout, const std::string& prefix) {
  return span_of(layout, prefix + "attention.self.query.weight", prefix + "output.LayerNorm.bias");
}

Block make_block(const EncoderConfig& config, const ParamLayout& layout, int64_t layer) {
  const std::string block = block_prefix(layer);
  return Block(make_attention(config, layout, block, layer), make_mlp(config, layout, block, layer), block_slice(layout, block));
}

MlmHead make_mlm_head(const EncoderConfig& config, const ParamLayout& layout, MlmTile tile) {
  const std::string transform = "cls.predictions.transform.";
  const Slice bias = layout.find("cls.predictions.bias").slice;
  return MlmHead(dense(layout, transform), config.activation, norm_params(layout, transform, config.layer_norm_eps),
                 layout.find("embeddings.word_embeddings.weight").slice, bias,
                 {layout.find(transform + "dense.weight").slice.begin, bias.end}, tile);
}

Head make_head(const EmbedderConfig& config, const ParamLayout& layout) {
  const int64_t H = config.encoder.hidden;
  if (!config.head) return Head(config.pooling, H, std::nullopt, Squash::identity, {});
  const std::string name = layout.contains("pooler.dense.weight") ? "pooler.dense." : "head.";
  const Slice weight = layout.find(name + "weight").slice;
  const Slice bias = config.head->bias ? layout.find(name + "bias").slice : Slice{};
  return Head(config.pooling, H, Linear(H, config.head->out_features, weight, bias), config.head->squash,
              {weight.begin, config.head->bias ? bias.end : weight.end});
}

ScoreHead make_score_head(const RerankerConfig& config, const ParamLayout& layout) {
  const Slice weight = layout.find("classifier.weight").slice, bias = layout.find("classifier.bias").slice;
  return ScoreHead(Linear(config.encoder.hidden, 1, weight, bias), config.classifier_dropout, {weight.begin, bias.end});
}

}  // namespace lodestone
