#include "losses/retromae_objective.h"

#include <algorithm>

#include "core/nn/layout.h"

namespace lodestone {

namespace {

int64_t count_targets(std::span<const int32_t> labels) {
  return static_cast<int64_t>(labels.size()) - std::count(labels.begin(), labels.end(), no_label);
}

}  // namespace

RetroMaeObjective::RetroMaeObjective(const Encoder& encoder, const ParamStore& params, const Group& group, const RetroMaeOptions& options,
                                     int64_t chunk_tokens, MlmTile tile)
    : encoder_(encoder),
      params_(params),
      group_(group),
      options_(options),
      chunk_tokens_(chunk_tokens),
      decoder_(encoder.config().encoder, params.layout(), options.decoding, options.h1_mode),
      head_(make_mlm_head(encoder.config().encoder, params.layout(), tile)) {
  if (!(options.decoder_weight >= 0))
    throw Error(ExitCode::usage, "config", cat("decoder_weight is ", options.decoder_weight), "give 0 or more");
}

RetroMaeObjective::Scales RetroMaeObjective::scales(const Batch& batch) const {
  LODE_CHECK(batch.mlm_labels.size() == batch.ids.size() && batch.decoder_labels.size() == batch.ids.size() &&
                 batch.decoder_ids.size() == batch.ids.size(),
             "the batch of ", batch.ids.size(), " tokens is not masked");
  int64_t counts[] = {count_targets(batch.mlm_labels), count_targets(batch.decoder_labels)};
  all_reduce(group_.host, std::span<int64_t>(counts), Reduce::sum);
  const auto inverse = [](int64_t n) { return n == 0 ? 0.0 : 1.0 / static_cast<double>(n); };
  return {inverse(counts[0]), inverse(counts[1])};
}

void RetroMaeObjective::open_chunk(const Batch& batch, int64_t c) {
  const Slice places = chunks_.places(c);
  const auto texts = chunks_.order().subspan(static_cast<size_t>(places.begin), static_cast<size_t>(places.count()));
  chunk_.assign(batch.masked(), batch.offsets, chunks_.tokens(c), texts);
}

void RetroMaeObjective::add_total(Exec& ex, ConstTensor shares, double weight, Tensor share) const {
  const auto scope = ex.arena.scope();
  const Tensor total = zero_total(ex);
  ex.backend.axpy(1, shares.slice({0, 1}), total);
  ex.backend.axpy(options_.decoder_weight, shares.slice({1, 2}), total);
  ex.backend.axpy(weight, total, share);
}

LossResult RetroMaeObjective::accumulate(Exec ex, const Batch& batch, double weight, Tensor grads, Tensor share, const GradHook& ready) {
  const Scales per_target = scales(batch);
  const auto outer = ex.arena.scope();
  const Tensor shares = ex.arena.tensor(DType::f64, {2});
  ex.backend.fill_zero(shares);
  chunks_.assign(batch.tokens(), chunk_tokens_);
  const GradHook not_yet;
  for (int64_t c = 0; c < chunks_.count(); ++c) {
    const auto scope = ex.arena.scope();
    open_chunk(batch, c);
    train_chunk(ex, chunk_.upload(ex), per_target, weight, grads, shares, c + 1 == chunks_.count() ? ready : not_yet);
  }
  if (chunks_.count() == 0) train_chunk(ex, {}, per_target, weight, grads, shares, ready);  // reports its slices all the same
  add_total(ex, shares, weight, share);
  return {};
}

void RetroMaeObjective::train_chunk(Exec& ex, const DeviceMaskedTexts& chunk, const Scales& per_target, double weight, Tensor grads,
                                    Tensor shares, const GradHook& ready) {
  const auto scope = ex.arena.scope();
  EncoderSaved* saved = encoder_.forward_tokens(ex, chunk.tokens);
  const Activation d_hidden = take_rows(ex, ex.compute, chunk.tokens.tokens(), encoder_.config().encoder.hidden, Padding::any);
  ex.backend.fill_zero(d_hidden.padded);
  if (chunk.tokens.texts() > 0) {
    const Activation& hidden = saved->inputs.back();
    const Tensor of_encoder = zero_total(ex), of_decoder = zero_total(ex);
    if (options_.decoder_weight > 0)
      train_decoder(ex, chunk, hidden, weight * options_.decoder_weight * per_target.decoder, d_hidden, grads, of_decoder);
    train_head(ex, hidden, chunk.of_encoder, weight * per_target.encoder, d_hidden, grads, of_encoder);
    ex.backend.axpy(per_target.encoder, of_encoder, shares.slice({0, 1}));
    ex.backend.axpy(per_target.decoder, of_decoder, shares.slice({1, 2}));
  }
  if (ready) {
    ready(head_.slice());
    ready(decoder_.slice());
  }
  encoder_.backward_tokens(ex, chunk.tokens, saved, d_hidden, grads, ready);
}

void RetroMaeObjective::train_decoder(Exec& ex, const DeviceMaskedTexts& chunk, const Activation& hidden, double weight,
                                      const Activation& d_hidden, Tensor grads, Tensor total) {
  const auto scope = ex.arena.scope();
  const DecoderTexts& texts = chunk.decoder;
  const Tensor sentence = sentences(ex, chunk.tokens, hidden);
  const MlmDecoder::Saved saved = decoder_.take(ex, hidden.rows);
  const Activation y = take_rows(ex, ex.compute, hidden.rows, hidden.padded.dim(1), Padding::any);
  decoder_.forward(ex, params_, texts, sentence, saved, y);

  const Activation dy = take_rows(ex, ex.compute, hidden.rows, hidden.padded.dim(1), Padding::any);
  ex.backend.fill_zero(dy.padded);
  train_head(ex, y, chunk.of_decoder, weight, dy, grads, total);
  const Tensor d_sentence = ex.arena.tensor(ex.wide(), sentence.shape()), rounded = ex.arena.tensor(ex.compute, sentence.shape());
  decoder_.backward(ex, params_, texts, saved, dy, d_sentence, grads);
  ex.backend.cast(d_sentence, rounded);
  ex.backend.place_rows(rounded, texts.places, d_hidden.real());
}

void RetroMaeObjective::train_head(Exec& ex, const Activation& rows, const Targets& targets, double weight, const Activation& d_rows,
                                   Tensor grads, Tensor total) {
  const auto scope = ex.arena.scope();
  const Activation x = chosen(ex, rows, targets), dx = take_rows(ex, ex.compute, x.rows, x.padded.dim(1), Padding::any);
  head_.gradient(ex, params_, x, targets.labels, weight, dx, grads, total);
  ex.backend.place_rows(dx.real(), targets.places, d_rows.real());
}

void RetroMaeObjective::evaluate(Exec ex, const Batch& batch, Tensor share) {
  const auto scope = ex.arena.scope();
  const Tensor shares = ex.arena.tensor(DType::f64, {2});
  ex.backend.fill_zero(shares);
  evaluate_both(ex, batch, shares);
  add_total(ex, shares, 1, share);
}

void RetroMaeObjective::evaluate_both(Exec ex, const Batch& batch, Tensor shares) {
  const Scales per_target = scales(batch);
  chunks_.assign({batch.ids, batch.offsets, {}}, chunk_tokens_);  // without keys nothing is dropped
  for (int64_t c = 0; c < chunks_.count(); ++c) {
    const auto scope = ex.arena.scope();
    open_chunk(batch, c);
    evaluate_chunk(ex, chunk_.upload(ex), per_target, shares);
  }
}

void RetroMaeObjective::evaluate_chunk(Exec& ex, const DeviceMaskedTexts& chunk, const Scales& per_target, Tensor shares) {
  const auto scope = ex.arena.scope();
  const Tensor of_encoder = zero_total(ex), of_decoder = zero_total(ex);
  const Activation hidden = encoder_.forward_tokens(ex, chunk.tokens)->inputs.back();
  head_value(ex, hidden, chunk.of_encoder, of_encoder);
  ex.backend.axpy(per_target.encoder, of_encoder, shares.slice({0, 1}));
  if (options_.decoder_weight == 0) return;
  const Activation y = take_rows(ex, ex.compute, hidden.rows, hidden.padded.dim(1), Padding::any);
  decoder_.forward(ex, params_, chunk.decoder, sentences(ex, chunk.tokens, hidden), decoder_.take(ex, hidden.rows), y);
  head_value(ex, y, chunk.of_decoder, of_decoder);
  ex.backend.axpy(per_target.decoder, of_decoder, shares.slice({1, 2}));
}

void RetroMaeObjective::head_value(Exec& ex, const Activation& rows, const Targets& targets, Tensor total) {
  const auto scope = ex.arena.scope();
  head_.value(ex, params_, chosen(ex, rows, targets), targets.labels, total);
}

Activation RetroMaeObjective::chosen(Exec& ex, const Activation& rows, const Targets& targets) const {
  const Activation x = take_rows(ex, ex.compute, targets.count(), rows.padded.dim(1), Padding::zero);
  ex.backend.select_rows(rows.real(), targets.places, x.real());
  return x;
}

Tensor RetroMaeObjective::sentences(Exec& ex, const DeviceTexts& texts, const Activation& hidden) const {
  const Tensor sentence = ex.arena.tensor(ex.wide(), {texts.texts(), hidden.padded.dim(1)});
  ex.backend.pool_forward(texts, hidden.real(), Pooling::cls, sentence);
  return sentence;
}

}  // namespace lodestone
