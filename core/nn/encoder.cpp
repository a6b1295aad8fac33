#include "core/nn/encoder.h"

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

}  // namespace

Encoder::Encoder(const EmbedderConfig& config, const ParamStore& params, Checkpointing checkpointing)
    : config_(config),
      params_(params),
      checkpointing_(checkpointing),
      embedding_(make_embedding(config_.encoder, params.layout())),
      blocks_(make_blocks(config_.encoder, params.layout())),
      head_(make_head(config_, params.layout())) {}

void Encoder::forward(Exec& ex, const DeviceTexts& texts, Tensor emb) const {
  if (texts.texts() == 0) return;
  const auto scope = ex.arena.scope();
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
  head_.forward(ex, params_, texts, x, head_.take(ex, texts.texts()), emb);
}

EncoderSaved* Encoder::forward_saved(Exec& ex, const DeviceTexts& texts, Tensor emb) const {
  EncoderSaved* saved = forward_tokens(ex, texts);
  if (texts.texts() == 0) return saved;
  saved->head = head_.take(ex, texts.texts());
  head_.forward(ex, params_, texts, saved->inputs.back(), saved->head, emb);
  return saved;
}

EncoderSaved* Encoder::forward_tokens(Exec& ex, const DeviceTexts& texts) const {
  const int64_t rows = texts.tokens(), H = config_.encoder.hidden, L = config_.encoder.layers;
  EncoderSaved& saved = arena_objects<EncoderSaved>(ex.arena, 1)[0];
  if (texts.texts() == 0) return &saved;
  saved.embedding = embedding_.take(ex, rows);
  saved.inputs = arena_objects<Activation>(ex.arena, L + 1);
  for (Activation& x : saved.inputs) x = take_rows(ex, ex.compute, rows, H, Padding::zero);
  if (checkpointing_ == Checkpointing::none) {
    saved.blocks = arena_objects<BlockSaved>(ex.arena, L);
    for (size_t l = 0; l < blocks_.size(); ++l) saved.blocks[l] = blocks_[l].take(ex, rows, Keep::all);
  }

  embedding_.forward(ex, params_, texts, saved.embedding, saved.inputs[0]);
  for (size_t l = 0; l < blocks_.size(); ++l) {
    const auto scope = ex.arena.scope();
    const BlockSaved state = saved.blocks.empty() ? blocks_[l].take(ex, rows, Keep::nothing) : saved.blocks[l];
    blocks_[l].forward(ex, params_, texts, saved.inputs[l], state, saved.inputs[l + 1]);
  }
  return &saved;
}

void Encoder::backward(Exec& ex, const DeviceTexts& texts, EncoderSaved* saved, ConstTensor d_emb, Tensor grads,
                       const std::function<void(Slice)>& ready) const {
  const auto scope = ex.arena.scope();
  const Activation d = take_rows(ex, ex.compute, texts.tokens(), config_.encoder.hidden, Padding::zero);
  if (texts.texts() > 0) head_.backward(ex, params_, texts, saved->head, d_emb, d, grads);
  if (ready && head_.slice().count() > 0) ready(head_.slice());
  backward_tokens(ex, texts, saved, d, grads, ready);
}

// d is dL/d output of the current block.
void Encoder::backward_tokens(Exec& ex, const DeviceTexts& texts, EncoderSaved* saved, const Activation& d, Tensor grads,
                              const std::function<void(Slice)>& ready) const {
  const bool any = texts.texts() > 0;
  const auto done = [&](Slice slice) {
    if (ready && slice.count() > 0) ready(slice);
  };
  const int64_t rows = texts.tokens(), H = config_.encoder.hidden;
  for (size_t l = blocks_.size(); l-- > 0;) {
    const auto inner = ex.arena.scope();
    if (any && saved->blocks.empty()) {
      const BlockSaved again = blocks_[l].take(ex, rows, Keep::all);
      const Activation y = take_rows(ex, ex.compute, rows, H, Padding::zero);
      blocks_[l].forward(ex, params_, texts, saved->inputs[l], again, y);
      blocks_[l].backward(ex, params_, texts, saved->inputs[l], again, d, grads);
    } else if (any) {
      blocks_[l].backward(ex, params_, texts, saved->inputs[l], saved->blocks[l], d, grads);
    }
    done(blocks_[l].slice());
  }
  if (any) embedding_.backward(ex, params_, texts, saved->embedding, d, grads);
  done(embedding_.slice());
}

}  // namespace lodestone
