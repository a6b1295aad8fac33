#include "core/nn/score_head.h"

#include <algorithm>
#include <numeric>

namespace lodestone {

/// Drops elements of x [B,H] in place; its own transpose.
void ScoreHead::drop(Exec& ex, const DeviceTexts& texts, Tensor x) const {
  const Dropout dropout = dropout_at(ex, texts, p_, 0, Place::score);
  if (dropout.p <= 0) return;
  const auto scope = ex.arena.scope();
  const std::span<int32_t> ids = ex.arena.array<int32_t>(texts.given_texts());  // only how many counts: one token a text
  std::fill(ids.begin(), ids.end(), 0);
  const std::span<int64_t> offsets = ex.arena.array<int64_t>(texts.given_texts() + 1);
  std::iota(offsets.begin(), offsets.end(), int64_t{0});
  DeviceTexts rows = upload_texts(ex.backend, ex.arena, {.ids = ids, .offsets = offsets, .keys = {}, .second = {}});
  rows.keys = texts.keys.slice({0, texts.given_texts()});
  ex.backend.dropout(rows, x, dropout, x);
}

void ScoreHead::forward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Saved& saved, Tensor scores) const {
  drop(ex, texts, saved.x.real());
  const auto scope = ex.arena.scope();
  const Activation y = take_rows(ex, ex.wide(), texts.given_texts(), 1, Padding::any);
  classifier_.forward(ex, params, saved.x, y);
  ex.backend.copy(y.real(), scores.reshape({texts.given_texts(), 1}));
}

void ScoreHead::backward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Saved& saved, ConstTensor d_scores,
                         const Activation& dx, Tensor grads) const {
  const auto scope = ex.arena.scope();
  const Activation dy = take_rows(ex, ex.wide(), texts.given_texts(), 1, Padding::zero);
  ex.backend.copy(d_scores.reshape({texts.given_texts(), 1}), dy.real());
  classifier_.backward(ex, params, saved.x, dy, Linear::Into::set, dx, grads);
  drop(ex, texts, dx.real());
}

}  // namespace lodestone
