#include "losses/embedding_objective.h"

#include <algorithm>
#include <bit>

#include "core/step_texts.h"
#include "losses/candidates.h"

namespace lodestone {

namespace {

Tensor rows_of(Tensor x, Slice places) { return x.rows(places.begin, places.end); }

/// Takes what is missing from what was taken since `begin` to the largest such slot so far.
void fill_slot(Arena& arena, const std::byte* begin, size_t& largest) {
  const auto taken = static_cast<size_t>(arena.next() - begin);
  if (taken < largest) arena.tensor(DType::u8, {static_cast<int64_t>(largest - taken)});
  largest = std::max(largest, taken);
}

}  // namespace

EmbeddingObjective::EmbeddingObjective(const Encoder& encoder, Loss& loss, const Group& group, const EmbeddingObjectiveOptions& options)
    : encoder_(encoder), loss_(loss), group_(group), options_(options) {}

int64_t EmbeddingObjective::first_kept(const Exec& ex) {
  int64_t first = chunks_.count();
  for (size_t kept_bytes = 0; first > 0; --first) {
    kept_bytes += std::max(activations_slot_, meter_.saved_bytes(ex, encoder_, texts_[static_cast<size_t>(first - 1)]));
    if (kept_bytes > options_.keep_activations_bytes && first < chunks_.count()) break;
  }
  return first;
}

// Slots for a power of two of chunks, since steps differ in how many they have.
void EmbeddingObjective::upload_chunks(Exec& ex) {
  const FillLimits limits{.tokens = options_.chunk_tokens, .longest = encoder_.config().encoder.longest_text()};
  const int64_t count = chunks_.count();
  texts_.clear();
  for (int64_t c = 0; c < count; ++c) {
    const std::byte* const begin = ex.arena.next();
    texts_.push_back(upload_step_texts(ex, chunks_.tokens(c), limits));
    if (ex.backend.replays()) fill_slot(ex.arena, begin, texts_slot_);
  }
  if (!ex.backend.replays()) return;
  const auto slots = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(count)));
  for (int64_t c = count; c < slots; ++c) fill_slot(ex.arena, ex.arena.next(), texts_slot_);
}

DeviceTexts EmbeddingObjective::texts_to_recompute(const Exec& ex, int64_t c) const {
  const DeviceTexts& texts = texts_[static_cast<size_t>(c)];
  return ex.backend.replays() ? copied_texts(ex, texts) : texts;
}

LossResult EmbeddingObjective::accumulate(Exec ex, const Batch& batch, double weight, Tensor grads, Tensor share, const GradHook& ready) {
  const auto scope = ex.arena.scope();
  chunks_.assign(batch.tokens(), options_.chunk_tokens);
  const int64_t texts = batch.tokens().texts(), width = embedding(), count = chunks_.count();
  const Shape matrix{texts, width};
  const Tensor emb = take_vectors(ex, ex.wide(), matrix), sorted = take_vectors(ex, ex.wide(), matrix);
  const ConstTensor order = ex.backend.upload(view(chunks_.order()), ex.arena);
  upload_chunks(ex);
  const auto of_chunk = [&](int64_t c) -> const DeviceTexts& { return texts_[static_cast<size_t>(c)]; };
  const int64_t kept = first_kept(ex);
  counts_ = {count - kept, count};

  saved_.clear();
  for (int64_t c = 0; c < count; ++c) {
    if (c < kept) {
      const auto chunk_scope = ex.arena.scope();
      encoder_.forward(ex, texts_to_recompute(ex, c), rows_of(sorted, chunks_.places(c)));
    } else {
      const auto kept_ones = ex.arena.taking_for(Use::activations);
      const std::byte* const begin = ex.arena.next();
      saved_.push_back(encoder_.forward_saved(ex, of_chunk(c), rows_of(sorted, chunks_.places(c))));
      if (ex.backend.replays()) fill_slot(ex.arena, begin, activations_slot_);
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
    const DeviceTexts chunk = c < kept ? texts_to_recompute(ex, c) : of_chunk(c);
    EncoderSaved* saved = c < kept ? encoder_.forward_saved(ex, chunk, rows_of(emb, places)) : saved_[static_cast<size_t>(c - kept)];
    encoder_.backward(ex, chunk, saved, rows_of(d_sorted, places), grads, c + 1 == count ? ready : not_yet);
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
    encoder.forward(ex, upload_texts(ex.backend, ex.arena, in_step(ex, chunks.tokens(c))), rows_of(sorted, chunks.places(c)));
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
