#include "losses/embedding_objective.h"

#include "core/step_texts.h"
#include "losses/candidates.h"

namespace lodestone {

namespace {

Tensor rows_of(Tensor x, Slice places) { return x.rows(places.begin, places.end); }

}  // namespace

EmbeddingObjective::EmbeddingObjective(const Encoder& encoder, Loss& loss, const Group& group, const EmbeddingObjectiveOptions& options)
    : encoder_(encoder), loss_(loss), group_(group), options_(options) {}

int64_t EmbeddingObjective::first_kept(const Exec& ex) {
  int64_t first = chunks_.count();
  for (size_t kept_bytes = 0; first > 0; --first) {
    kept_bytes += meter_.saved_bytes(ex, encoder_, texts_[static_cast<size_t>(first - 1)]);
    if (kept_bytes > options_.keep_activations_bytes && first < chunks_.count()) break;
  }
  return first;
}

LossResult EmbeddingObjective::accumulate(Exec ex, const Batch& batch, double weight, Tensor grads, Tensor share, const GradHook& ready) {
  const auto scope = ex.arena.scope();
  chunks_.assign(batch.tokens(), options_.chunk_tokens);
  const int64_t texts = batch.tokens().texts(), width = embedding(), count = chunks_.count();
  const FillLimits limits{.tokens = options_.chunk_tokens, .longest = encoder_.config().encoder.longest_text()};
  texts_.clear();
  for (int64_t c = 0; c < count; ++c) texts_.push_back(upload_step_texts(ex, chunks_.tokens(c), limits));
  const auto of_chunk = [&](int64_t c) -> const DeviceTexts& { return texts_[static_cast<size_t>(c)]; };
  const ConstTensor order = ex.backend.upload(view(chunks_.order()), ex.arena);
  const int64_t kept = first_kept(ex);
  counts_ = {count - kept, count};
  const Shape matrix{texts, width};
  const Tensor emb = take_vectors(ex, ex.wide(), matrix), sorted = take_vectors(ex, ex.wide(), matrix);

  saved_.clear();
  for (int64_t c = 0; c < count; ++c) {
    if (c < kept) {
      const auto chunk_scope = ex.arena.scope();
      encoder_.forward(ex, of_chunk(c), rows_of(sorted, chunks_.places(c)));
    } else {
      const auto kept_ones = ex.arena.taking_for(Use::activations);
      saved_.push_back(encoder_.forward_saved(ex, of_chunk(c), rows_of(sorted, chunks_.places(c))));
    }
  }
  ex.backend.place_rows(sorted, order, emb);  // in the batch's order again

  const Tensor d_emb = take_vectors(ex, ex.wide(), matrix);
  const LossResult result = loss_.evaluate(ex, group_, emb, batch.pairs(), weight, d_emb, share);
  const Tensor d_sorted = sorted;
  ex.backend.select_rows(d_emb, order, d_sorted);

  const GradHook not_yet;
  for (int64_t c = 0; c < count; ++c) {
    const auto chunk_scope = ex.arena.scope();
    const Slice places = chunks_.places(c);
    EncoderSaved* saved = c < kept ? encoder_.forward_saved(ex, of_chunk(c), rows_of(emb, places)) : saved_[static_cast<size_t>(c - kept)];
    encoder_.backward(ex, of_chunk(c), saved, rows_of(d_sorted, places), grads, c + 1 == count ? ready : not_yet);
  }
  if (count == 0) encoder_.backward(ex, {}, nullptr, d_sorted, grads, ready);  // no text here: reports its slices all the same
  return result;
}

Tensor embed_texts(Exec& ex, const Encoder& encoder, const TokenBatch& tokens, int64_t chunk_tokens, LengthChunks& chunks) {
  chunks.assign(tokens, chunk_tokens);
  const Tensor emb = take_vectors(ex, ex.wide(), {tokens.texts(), encoder.config().embedding()});
  const auto scope = ex.arena.scope();
  const Tensor sorted = take_vectors(ex, ex.wide(), emb.shape());
  for (int64_t c = 0; c < chunks.count(); ++c) {
    const auto chunk_scope = ex.arena.scope();
    encoder.forward(ex, upload_texts(ex.backend, ex.arena, chunks.tokens(c)), rows_of(sorted, chunks.places(c)));
  }
  ex.backend.place_rows(sorted, ex.backend.upload(view(chunks.order()), ex.arena), emb);
  return emb;
}

void EmbeddingObjective::evaluate(Exec ex, const Batch& batch, Tensor share) {
  const auto scope = ex.arena.scope();
  const Tensor emb = embed(ex, batch.tokens());
  loss_.evaluate(ex, group_, emb, batch.pairs(), 1, take_vectors(ex, ex.wide(), emb.shape()), share);
}

}  // namespace lodestone
