#include "losses/retromae_objective.h"

#include <algorithm>

#include "core/nn/layout.h"

namespace lodestone {

namespace {

int64_t count_targets(std::span<const int32_t> labels) {
  return static_cast<int64_t>(labels.size()) - std::count(labels.begin(), labels.end(), no_label);
}

}  // namespace

RetroMaeObjective::RetroMaeObjective(const Encoder& encoder, const ParamStore& params, Communicator& group, const RetroMaeOptions& options,
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
  all_reduce(group_, std::span<int64_t>(counts), Reduce::sum);
  const auto inverse = [](int64_t n) { return n == 0 ? 0.0 : 1.0 / static_cast<double>(n); };
  return {inverse(counts[0]), inverse(counts[1])};
}

TokenBatch RetroMaeObjective::open_chunk(const Batch& batch, int64_t c) {
  const TokenBatch tokens = chunks_.tokens(c);
  const Slice places = chunks_.places(c);
  const auto texts = chunks_.order().subspan(static_cast<size_t>(places.begin), static_cast<size_t>(places.count()));
  chunk_.assign(batch.masked(), batch.offsets, tokens, texts);
  return tokens;
}

double RetroMaeObjective::accumulate(Exec ex, const Batch& batch, double weight, Tensor grads, const GradHook& ready) {
  const Scales per_target = scales(batch);
  chunks_.assign(batch.tokens(), chunk_tokens_);
  shares_ = {};
  const GradHook not_yet;
  for (int64_t c = 0; c < chunks_.count(); ++c)
    train_chunk(ex, open_chunk(batch, c), per_target, weight, grads, c + 1 == chunks_.count() ? ready : not_yet);
  if (chunks_.count() == 0) train_chunk(ex, batch.tokens(), per_target, weight, grads, ready);  // reports its slices all the same
  return weight * total();
}

void RetroMaeObjective::train_chunk(Exec& ex, const TokenBatch& tokens, const Scales& per_target, double weight, Tensor grads,
                                    const GradHook& ready) {
  const auto scope = ex.arena.scope();
  EncoderSaved* saved = encoder_.forward_tokens(ex, tokens);
  const Activation d_hidden = take_rows(ex, ex.compute, tokens.tokens(), encoder_.config().encoder.hidden, Padding::any);
  ex.backend.fill_zero(d_hidden.padded);
  if (tokens.texts() > 0) {
    const Activation& hidden = saved->inputs.back();
    if (options_.decoder_weight > 0)
      shares_.decoder +=
          per_target.decoder * train_decoder(ex, tokens, hidden, weight * options_.decoder_weight * per_target.decoder, d_hidden, grads);
    shares_.encoder += per_target.encoder * train_head(ex, hidden, chunk_.of_encoder(), weight * per_target.encoder, d_hidden, grads);
  }
  if (ready) {
    ready(head_.slice());
    ready(decoder_.slice());
  }
  encoder_.backward_tokens(ex, tokens, saved, d_hidden, grads, ready);
}

double RetroMaeObjective::train_decoder(Exec& ex, const TokenBatch& tokens, const Activation& hidden, double weight,
                                        const Activation& d_hidden, Tensor grads) {
  const auto scope = ex.arena.scope();
  const DecoderTexts texts = chunk_.decoder_texts();
  const Tensor sentence = sentences(ex, tokens, hidden);
  const MlmDecoder::Saved saved = decoder_.take(ex, hidden.rows);
  const Activation y = take_rows(ex, ex.compute, hidden.rows, hidden.padded.dim(1), Padding::any);
  decoder_.forward(ex, params_, texts, sentence, saved, y);

  const Activation dy = take_rows(ex, ex.compute, hidden.rows, hidden.padded.dim(1), Padding::any);
  ex.backend.fill_zero(dy.padded);
  const double loss = train_head(ex, y, chunk_.of_decoder(), weight, dy, grads);
  const Tensor d_sentence = ex.arena.tensor(ex.wide(), sentence.shape()), rounded = ex.arena.tensor(ex.compute, sentence.shape());
  decoder_.backward(ex, params_, texts, saved, dy, d_sentence, grads);
  ex.backend.cast(d_sentence, rounded);
  ex.backend.place_rows(rounded, texts.places(), d_hidden.real());
  return loss;
}

double RetroMaeObjective::train_head(Exec& ex, const Activation& rows, const Targets& targets, double weight, const Activation& d_rows,
                                     Tensor grads) {
  const auto scope = ex.arena.scope();
  const Activation x = chosen(ex, rows, targets), dx = take_rows(ex, ex.compute, x.rows, x.padded.dim(1), Padding::any);
  const double loss = head_.gradient(ex, params_, x, targets.labels, weight, dx, grads);
  ex.backend.place_rows(dx.real(), targets.places, d_rows.real());
  return loss;
}

size_t RetroMaeObjective::chunk_bytes(const Exec& ex, int64_t tokens, int64_t texts) const {
  const int64_t H = encoder_.config().encoder.hidden;
  const size_t rows = Arena::taken_bytes(ex.compute, {padded_rows(ex, tokens), H});
  const size_t sentence = Arena::taken_bytes(ex.wide(), {texts, H}), rounded = Arena::taken_bytes(ex.compute, {texts, H});
  const size_t head = 2 * rows + head_.work_bytes(ex, tokens);
  const size_t decoder =
      sentence + decoder_.saved_bytes(ex, tokens) + 2 * rows + std::max(head, sentence + rounded + decoder_.work_bytes(ex, tokens, texts));
  return encoder_.saved_bytes(ex, tokens, texts) + rows +
         std::max({encoder_.work_bytes(ex, tokens, texts), head, options_.decoder_weight > 0 ? decoder : 0});
}

double RetroMaeObjective::evaluate(Exec ex, const Batch& batch) {
  const Scales per_target = scales(batch);
  chunks_.assign({batch.ids, batch.offsets, {}}, chunk_tokens_);  // without keys nothing is dropped
  shares_ = {};
  for (int64_t c = 0; c < chunks_.count(); ++c) evaluate_chunk(ex, open_chunk(batch, c), per_target);
  return total();
}

void RetroMaeObjective::evaluate_chunk(Exec& ex, const TokenBatch& tokens, const Scales& per_target) {
  const auto scope = ex.arena.scope();
  const Activation hidden = encoder_.forward_tokens(ex, tokens)->inputs.back();
  shares_.encoder += per_target.encoder * head_value(ex, hidden, chunk_.of_encoder());
  if (options_.decoder_weight == 0) return;
  const Activation y = take_rows(ex, ex.compute, hidden.rows, hidden.padded.dim(1), Padding::any);
  decoder_.forward(ex, params_, chunk_.decoder_texts(), sentences(ex, tokens, hidden), decoder_.take(ex, hidden.rows), y);
  shares_.decoder += per_target.decoder * head_value(ex, y, chunk_.of_decoder());
}

double RetroMaeObjective::head_value(Exec& ex, const Activation& rows, const Targets& targets) {
  const auto scope = ex.arena.scope();
  return head_.value(ex, params_, chosen(ex, rows, targets), targets.labels);
}

Activation RetroMaeObjective::chosen(Exec& ex, const Activation& rows, const Targets& targets) const {
  const Activation x = take_rows(ex, ex.compute, std::ssize(targets.places), rows.padded.dim(1), Padding::zero);
  ex.backend.select_rows(rows.real(), targets.places, x.real());
  return x;
}

Tensor RetroMaeObjective::sentences(Exec& ex, const TokenBatch& tokens, const Activation& hidden) const {
  const Tensor sentence = ex.arena.tensor(ex.wide(), {tokens.texts(), hidden.padded.dim(1)});
  ex.backend.pool_forward(tokens, hidden.real(), Pooling::cls, sentence);
  return sentence;
}

}  // namespace lodestone
