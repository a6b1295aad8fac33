#include "losses/embedding_objective.h"

namespace lodestone {

namespace {

Tensor rows_of(Tensor x, Slice places) { return x.rows(places.begin, places.end); }

}  // namespace

EmbeddingObjective::EmbeddingObjective(const Encoder& encoder, Loss& loss, Communicator& group, const EmbeddingObjectiveOptions& options)
    : encoder_(encoder), loss_(loss), group_(group), options_(options) {}

int64_t EmbeddingObjective::first_kept(const Exec& ex) const {
  int64_t first = chunks_.count();
  for (size_t kept_bytes = 0; first > 0; --first) {
    const TokenBatch tokens = chunks_.tokens(first - 1);
    kept_bytes += encoder_.saved_bytes(ex, tokens.tokens(), tokens.texts());
    if (kept_bytes > options_.keep_activations_bytes && first < chunks_.count()) break;
  }
  return first;
}

double EmbeddingObjective::accumulate(Exec ex, const Batch& batch, double weight, Tensor grads, const GradHook& ready) {
  const auto scope = ex.arena.scope();
  chunks_.assign(batch.tokens(), options_.chunk_tokens);
  const int64_t texts = batch.tokens().texts(), width = embedding(), count = chunks_.count();
  const int64_t kept = first_kept(ex);
  const Shape matrix{texts, width};
  const Tensor emb = ex.arena.tensor(ex.wide(), matrix), sorted = ex.arena.tensor(ex.wide(), matrix);

  saved_.clear();
  for (int64_t c = 0; c < count; ++c) {
    if (c < kept) {
      const auto chunk_scope = ex.arena.scope();
      encoder_.forward(ex, chunks_.tokens(c), rows_of(sorted, chunks_.places(c)));
    } else {
      saved_.push_back(encoder_.forward_saved(ex, chunks_.tokens(c), rows_of(sorted, chunks_.places(c))));
    }
  }
  ex.backend.place_rows(sorted, chunks_.order(), emb);  // in the batch's order again

  const Tensor d_emb = ex.arena.tensor(ex.wide(), matrix);
  const double share = loss_.evaluate(ex, group_, emb, batch.pairs(), weight, d_emb);
  const Tensor d_sorted = sorted;
  ex.backend.select_rows(d_emb, chunks_.order(), d_sorted);

  const GradHook not_yet;
  for (int64_t c = 0; c < count; ++c) {
    const auto chunk_scope = ex.arena.scope();
    const TokenBatch tokens = chunks_.tokens(c);
    const Slice places = chunks_.places(c);
    EncoderSaved* saved = c < kept ? encoder_.forward_saved(ex, tokens, rows_of(emb, places)) : saved_[static_cast<size_t>(c - kept)];
    encoder_.backward(ex, tokens, saved, rows_of(d_sorted, places), grads, c + 1 == count ? ready : not_yet);
  }
  if (count == 0) encoder_.backward(ex, batch.tokens(), nullptr, d_sorted, grads, ready);  // no text here: reports its slices all the same
  return share;
}

Tensor embed_texts(Exec& ex, const Encoder& encoder, const TokenBatch& tokens, int64_t chunk_tokens, LengthChunks& chunks) {
  chunks.assign(tokens, chunk_tokens);
  const Tensor emb = ex.arena.tensor(ex.wide(), {tokens.texts(), encoder.config().embedding()});
  const auto scope = ex.arena.scope();
  const Tensor sorted = ex.arena.tensor(ex.wide(), emb.shape());
  for (int64_t c = 0; c < chunks.count(); ++c) encoder.forward(ex, chunks.tokens(c), rows_of(sorted, chunks.places(c)));
  ex.backend.place_rows(sorted, chunks.order(), emb);
  return emb;
}

double EmbeddingObjective::evaluate(Exec ex, const Batch& batch) {
  const auto scope = ex.arena.scope();
  const Tensor emb = embed(ex, batch.tokens());
  return loss_.evaluate(ex, group_, emb, batch.pairs(), 1, ex.arena.tensor(ex.wide(), emb.shape()));
}

}  // namespace lodestone
