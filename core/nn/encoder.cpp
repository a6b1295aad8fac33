#include "core/nn/encoder.h"

#include <atomic>
#include <memory>

#include "core/nn/layout.h"

namespace lodestone {

namespace {

/// n value-initialised objects in the arena; nobody destroys them.
template <class T>
std::span<T> arena_objects(Arena& arena, int64_t n) {
  const std::span<T> objects = arena.array<T>(n);
  std::uninitialized_value_construct_n(objects.data(), n);
  return objects;
}

std::vector<Block> make_blocks(const EncoderConfig& config, const ParamLayout& layout) {
  std::vector<Block> blocks;
  for (int64_t l = 0; l < config.layers; ++l) blocks.push_back(make_block(config, layout, l));
  return blocks;
}

uint64_t next_number() {
  static std::atomic<uint64_t> number{0};
  return ++number;
}

/// What a pass writes vectors [B,E] of filled texts into, or reads gradients of them from: at the same place whenever the texts are, while
/// those who want them have them elsewhere each time.
Tensor vectors_of_all(Exec& ex, const DeviceTexts& texts, int64_t width) { return ex.arena.tensor(ex.wide(), {texts.texts(), width}); }

}  // namespace

Encoder::Encoder(const EmbedderConfig& config, const ParamStore& params, Checkpointing checkpointing)
    : number_(next_number()),
      config_(config),
      params_(params),
      checkpointing_(checkpointing),
      embedding_(make_embedding(config_.encoder, params.layout())),
      blocks_(make_blocks(config_.encoder, params.layout())),
      head_(make_head(config_, params.layout())) {}

// Operations check the same where they are called, which in a stretch that is replayed they are not.
void Encoder::check(const DeviceTexts& texts) const {
  LODE_CHECK(texts.given_texts() == 0 || texts.shortest >= 1, "a text of a batch has no tokens");
  LODE_CHECK(texts.longest <= config_.encoder.longest_text(), "a text has ", texts.longest, " tokens, and there are ",
             config_.encoder.longest_text(), " positions");
  LODE_CHECK(texts.ids_end <= config_.encoder.vocab, "a token has the id ", texts.ids_end - 1, ", and the vocabulary ",
             config_.encoder.vocab, " words");
}

template <class Operations>
void Encoder::replay(Exec& ex, Stretch stretch, const DeviceTexts& texts, std::initializer_list<ConstTensor> operands,
                     const Operations& operations) const {
  if (!ex.backend.replays() || texts.texts() == 0 || !params_.complete()) return operations();
  ReplayName name;
  name.add(number_).add(static_cast<uint64_t>(stretch.pass)).add(stretch.part).add(static_cast<uint64_t>(ex.compute));
  name.add(texts).add(ex.arena.next());
  if (!texts.keys.empty()) name.add(ex.key.value());
  for (const ConstTensor& x : operands) name.add(x);
  ex.backend.replay(name, std::cref(operations));
}

void Encoder::forward(Exec& ex, const DeviceTexts& texts, Tensor emb) const {
  if (texts.texts() == 0) return;
  check(texts);
  const auto scope = ex.arena.scope();
  const Tensor vectors = texts.filled() ? vectors_of_all(ex, texts, emb.dim(1)) : emb;
  replay(ex, {Pass::forward}, texts, {vectors}, [&] {
    const auto inside = ex.arena.scope();
    const int64_t rows = texts.tokens(), H = config_.encoder.hidden;
    Activation x = take_rows(ex, ex.compute, rows, H, Padding::zero), y = take_rows(ex, ex.compute, rows, H, Padding::zero);
    {
      const auto inner = ex.arena.scope();
      embedding_.forward(ex, params_, texts, embedding_.take(ex, rows), x);
    }
    for (const Block& block : blocks_) {
      const auto inner = ex.arena.scope();
      block.forward(ex, params_, texts, x, block.take(ex, rows, Keep::nothing), y);
      std::swap(x, y);
    }
    head_.forward(ex, params_, texts, x, head_.take(ex, texts.texts()), vectors);
  });
  if (texts.filled()) ex.backend.copy(vectors.rows(0, texts.given_texts()), emb);
}

EncoderSaved* Encoder::forward_saved(Exec& ex, const DeviceTexts& texts, Tensor emb) const {
  EncoderSaved* saved = take_tokens(ex, texts);
  if (texts.texts() == 0) return saved;
  saved->head = head_.take(ex, texts.texts());
  const auto scope = ex.arena.scope();
  const Tensor vectors = texts.filled() ? vectors_of_all(ex, texts, emb.dim(1)) : emb;
  replay(ex, {Pass::forward_saved}, texts, {saved->inputs.front().padded, vectors}, [&] {
    run_tokens(ex, texts, *saved);
    head_.forward(ex, params_, texts, saved->inputs.back(), saved->head, vectors);
  });
  if (texts.filled()) ex.backend.copy(vectors.rows(0, texts.given_texts()), emb);
  return saved;
}

EncoderSaved* Encoder::forward_tokens(Exec& ex, const DeviceTexts& texts) const {
  EncoderSaved* saved = take_tokens(ex, texts);
  if (texts.texts() == 0) return saved;
  replay(ex, {Pass::forward_tokens}, texts, {saved->inputs.front().padded}, [&] { run_tokens(ex, texts, *saved); });
  return saved;
}

// Where it takes its memory decides where all of it lies.
EncoderSaved* Encoder::take_tokens(Exec& ex, const DeviceTexts& texts) const {
  const int64_t rows = texts.tokens(), H = config_.encoder.hidden, L = config_.encoder.layers;
  EncoderSaved& saved = arena_objects<EncoderSaved>(ex.arena, 1)[0];
  if (texts.texts() == 0) return &saved;
  check(texts);
  saved.embedding = embedding_.take(ex, rows);
  saved.inputs = arena_objects<Activation>(ex.arena, L + 1);
  for (Activation& x : saved.inputs) x = take_rows(ex, ex.compute, rows, H, Padding::zero);
  if (checkpointing_ == Checkpointing::none) {
    saved.blocks = arena_objects<BlockSaved>(ex.arena, L);
    for (size_t l = 0; l < blocks_.size(); ++l) saved.blocks[l] = blocks_[l].take(ex, rows, Keep::all);
  }
  return &saved;
}

void Encoder::run_tokens(Exec& ex, const DeviceTexts& texts, const EncoderSaved& saved) const {
  embedding_.forward(ex, params_, texts, saved.embedding, saved.inputs[0]);
  for (size_t l = 0; l < blocks_.size(); ++l) {
    const auto scope = ex.arena.scope();
    const BlockSaved state = saved.blocks.empty() ? blocks_[l].take(ex, texts.tokens(), Keep::nothing) : saved.blocks[l];
    blocks_[l].forward(ex, params_, texts, saved.inputs[l], state, saved.inputs[l + 1]);
  }
}

void Encoder::backward(Exec& ex, const DeviceTexts& texts, EncoderSaved* saved, ConstTensor d_emb, Tensor grads,
                       const std::function<void(Slice)>& ready) const {
  const auto scope = ex.arena.scope();
  ConstTensor d_vectors = d_emb;
  if (texts.filled()) {
    const Tensor all = vectors_of_all(ex, texts, d_emb.dim(1));
    ex.backend.copy(d_emb, all.rows(0, texts.given_texts()));
    ex.backend.fill_zero(all.rows(texts.given_texts(), texts.texts()));
    d_vectors = all;
  }
  const Activation d = take_rows(ex, ex.compute, texts.tokens(), config_.encoder.hidden, Padding::zero);
  const auto of_head = [&] {
    if (texts.texts() > 0) head_.backward(ex, params_, texts, saved->head, d_vectors, d, grads);
  };
  if (ready) {
    replay(ex, {Pass::backward_head}, texts, {d.padded, d_vectors, grads}, of_head);
    if (head_.slice().count() > 0) ready(head_.slice());
    return backward_tokens(ex, texts, saved, d, grads, ready);
  }
  replay(ex, {Pass::backward}, texts, {d.padded, d_vectors, grads}, [&] {
    of_head();
    for (size_t part = 0; part <= blocks_.size(); ++part) backward_part(ex, part, texts, saved, d, grads);
  });
}

// Who waits for slices is called between stretches.
void Encoder::backward_tokens(Exec& ex, const DeviceTexts& texts, EncoderSaved* saved, const Activation& d, Tensor grads,
                              const std::function<void(Slice)>& ready) const {
  if (!ready)
    return replay(ex, {Pass::backward_tokens}, texts, {d.padded, grads}, [&] {
      for (size_t part = 0; part <= blocks_.size(); ++part) backward_part(ex, part, texts, saved, d, grads);
    });
  for (size_t part = 0; part <= blocks_.size(); ++part) {
    replay(ex, {Pass::backward_part, part}, texts, {d.padded, grads}, [&] { backward_part(ex, part, texts, saved, d, grads); });
    const Slice slice = part < blocks_.size() ? blocks_[blocks_.size() - 1 - part].slice() : embedding_.slice();
    if (slice.count() > 0) ready(slice);
  }
}

// d is dL/d output of the part.
void Encoder::backward_part(Exec& ex, size_t part, const DeviceTexts& texts, const EncoderSaved* saved, const Activation& d,
                            Tensor grads) const {
  if (texts.texts() == 0) return;
  if (part == blocks_.size()) return embedding_.backward(ex, params_, texts, saved->embedding, d, grads);
  const size_t l = blocks_.size() - 1 - part;
  const Block& block = blocks_[l];
  if (!saved->blocks.empty()) return block.backward(ex, params_, texts, saved->inputs[l], saved->blocks[l], d, grads);
  const auto scope = ex.arena.scope();
  const BlockSaved again = block.take(ex, texts.tokens(), Keep::all);
  const Activation y = take_rows(ex, ex.compute, texts.tokens(), config_.encoder.hidden, Padding::zero);
  block.forward(ex, params_, texts, saved->inputs[l], again, y);
  block.backward(ex, params_, texts, saved->inputs[l], again, d, grads);
}

}  // namespace lodestone
