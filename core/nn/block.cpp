#include "core/nn/block.h"

#include <algorithm>

namespace lodestone {

BlockSaved Block::take(Exec& ex, int64_t rows, Keep keep) const {
  const int64_t H = attention_.hidden(), F = mlp_.feed_forward();
  const Tensor lse = ex.arena.tensor(ex.wide(), {rows, attention_.heads()});
  const auto part = [&](int64_t columns, Padding padding) { return take_rows(ex, ex.compute, rows, columns, padding); };

  if (keep == Keep::all) {
    const Activation qkv = part(3 * H, Padding::any), ctx = part(H, Padding::zero), middle = part(H, Padding::zero);
    const Activation u = part(F, Padding::any), h = part(F, Padding::zero);
    const ResidualNorm::Saved first = ResidualNorm::take(ex, part(H, Padding::any));
    const ResidualNorm::Saved second = ResidualNorm::take(ex, part(H, Padding::any));
    return {{qkv, ctx, lse, first}, middle, {u, h, second}};
  }
  // qkv is dead when u is written, and ctx when the second sum is.
  const Activation wide = part(std::max(3 * H, F), Padding::any);
  const auto view = [&](int64_t columns) {
    const int64_t padded = wide.padded.dim(0);
    return Activation{wide.padded.slice({0, padded * columns}).reshape({padded, columns}), rows};
  };
  const Activation ctx = part(H, Padding::any), middle = part(H, Padding::any);
  const ResidualNorm::Saved first = ResidualNorm::take(ex, part(H, Padding::any));
  return {{view(3 * H), ctx, lse, first}, middle, {view(F), view(F), {ctx, first.mean, first.rstd}}};
}

void Block::forward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Activation& x, const BlockSaved& saved,
                    const Activation& y) const {
  attention_.forward(ex, params, texts, x, saved.attention, saved.middle);
  mlp_.forward(ex, params, texts, saved.middle, saved.mlp, y);
}

void Block::backward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Activation& x, const BlockSaved& saved,
                     const Activation& dy, Tensor grads) const {
  mlp_.backward(ex, params, texts, saved.middle, saved.mlp, dy, grads);
  attention_.backward(ex, params, texts, x, saved.attention, dy, grads);
}

}  // namespace lodestone
