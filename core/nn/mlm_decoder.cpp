#include "core/nn/mlm_decoder.h"

#include "core/nn/layout.h"

namespace lodestone {

namespace {

/// Names the dropout masks of the two embedding streams apart from each other and from the encoder's.
Exec token_stream(const Exec& ex) { return ex.with(ex.key.with("decoder tokens")); }
Exec query_stream(const Exec& ex) { return ex.with(ex.key.with("decoder queries")); }

}  // namespace

MlmDecoder::MlmDecoder(const EncoderConfig& config, const ParamLayout& layout, Decoding decoding, QueryStream h1_mode)
    : hidden_(config.hidden),
      embedding_(make_embedding(config, layout)),
      attention_(make_two_stream_attention(config, layout, retromae_decoder_prefix, config.layers)),
      mlp_(make_mlp(config, layout, retromae_decoder_prefix, config.layers)),
      block_(make_attention(config, layout, retromae_decoder_prefix, config.layers), mlp_, block_slice(layout, retromae_decoder_prefix)),
      slice_(block_.slice()),
      decoding_(decoding),
      h1_mode_(h1_mode) {}

MlmDecoder::Saved MlmDecoder::take(Exec& ex, int64_t rows) const {
  const auto part = [&](int64_t columns, Padding padding) { return take_rows(ex, ex.compute, rows, columns, padding); };
  Saved saved;
  saved.embedding = embedding_.take(ex, rows);
  saved.h2 = part(hidden_, Padding::zero);
  if (decoding_ == Decoding::basic) {
    saved.block = block_.take(ex, rows, Keep::all);
    return saved;
  }
  if (h1_mode_ == QueryStream::embed_block) saved.query_embedding = embedding_.take(ex, rows);
  saved.h1 = part(hidden_, Padding::zero);
  saved.attention = attention_.take(ex, rows);
  saved.middle = part(hidden_, Padding::zero);
  saved.mlp = {part(mlp_.feed_forward(), Padding::any), part(mlp_.feed_forward(), Padding::zero),
               ResidualNorm::take(ex, part(hidden_, Padding::any))};
  return saved;
}

void MlmDecoder::forward(Exec& ex, const ParamStore& params, const DecoderTexts& texts, ConstTensor sentence, const Saved& saved,
                         const Activation& y) const {
  forward_tokens(ex, params, texts, sentence, saved);
  if (decoding_ == Decoding::basic) {
    block_.forward(ex, params, texts.tokens, saved.h2, saved.block, y);
    return;
  }
  forward_queries(ex, params, texts, sentence, saved);
  attention_.forward(ex, params, texts.tokens, texts.masks, saved.h1, saved.h2, saved.attention, saved.middle);
  mlp_.forward(ex, params, texts.tokens, saved.middle, saved.mlp, y);
}

void MlmDecoder::backward(Exec& ex, const ParamStore& params, const DecoderTexts& texts, const Saved& saved, const Activation& dy,
                          Tensor d_sentence, Tensor grads) const {
  ex.backend.fill_zero(d_sentence);
  if (decoding_ == Decoding::basic) {
    block_.backward(ex, params, texts.tokens, saved.h2, saved.block, dy, grads);
    backward_tokens(ex, params, texts, saved, dy, d_sentence, grads);
    return;
  }
  const auto scope = ex.arena.scope();
  mlp_.backward(ex, params, texts.tokens, saved.middle, saved.mlp, dy, grads);
  const Activation d_h2 = take_rows(ex, ex.compute, dy.rows, hidden_, Padding::any);
  attention_.backward(ex, params, texts.tokens, texts.masks, saved.h1, saved.h2, saved.attention, dy, d_h2, grads);
  backward_queries(ex, params, texts, saved, dy, d_sentence, grads);
  backward_tokens(ex, params, texts, saved, d_h2, d_sentence, grads);
}

void MlmDecoder::forward_tokens(Exec& ex, const ParamStore& params, const DecoderTexts& texts, ConstTensor sentence,
                                const Saved& saved) const {
  Exec stream = token_stream(ex);
  embedding_.forward(stream, params, texts.tokens, saved.embedding, saved.h2);
  const auto scope = ex.arena.scope();
  const Tensor rounded = ex.arena.tensor(ex.compute, sentence.shape());
  ex.backend.cast(sentence, rounded);
  ex.backend.place_rows(rounded, texts.places, saved.h2.real());
}

void MlmDecoder::backward_tokens(Exec& ex, const ParamStore& params, const DecoderTexts& texts, const Saved& saved, const Activation& d,
                                 Tensor d_sentence, Tensor grads) const {
  const auto scope = ex.arena.scope();
  const Tensor chosen = ex.arena.tensor(ex.compute, d_sentence.shape()), wide = ex.arena.tensor(ex.wide(), d_sentence.shape());
  ex.backend.select_rows(d.real(), texts.places, chosen);
  ex.backend.cast(chosen, wide);
  ex.backend.axpy(1.0, wide, d_sentence);
  ex.backend.fill_zero(chosen);
  ex.backend.place_rows(chosen, texts.places, d.real());  // the embeddings of [CLS] were not used
  Exec stream = token_stream(ex);
  embedding_.backward(stream, params, texts.tokens, saved.embedding, d, grads);
}

void MlmDecoder::forward_queries(Exec& ex, const ParamStore& params, const DecoderTexts& texts, ConstTensor sentence,
                                 const Saved& saved) const {
  Exec stream = query_stream(ex);
  if (h1_mode_ == QueryStream::embed_block)
    return embedding_.forward(stream, params, texts.sentences, sentence, saved.query_embedding, saved.h1);
  const auto scope = ex.arena.scope();
  const Tensor no_type = ex.arena.tensor(ex.wide(), {1, hidden_});
  ex.backend.fill_zero(no_type);
  ex.backend.embed_forward(texts.sentences, sentence, embedding_.positions(params.masters({0, embedding_.slice().end})), no_type,
                           saved.h1.real());
}

void MlmDecoder::backward_queries(Exec& ex, const ParamStore& params, const DecoderTexts& texts, const Saved& saved, const Activation& d,
                                  Tensor d_sentence, Tensor grads) const {
  Exec stream = query_stream(ex);
  if (h1_mode_ == QueryStream::embed_block)
    return embedding_.backward(stream, params, texts.sentences, saved.query_embedding, d, d_sentence, grads);
  const auto scope = ex.arena.scope();
  const Tensor unused = ex.arena.tensor(ex.wide(), {1, hidden_});
  ex.backend.fill_zero(unused);
  ex.backend.embed_backward(texts.sentences, d.real(), d_sentence, embedding_.positions(grads), unused);
}

}  // namespace lodestone
