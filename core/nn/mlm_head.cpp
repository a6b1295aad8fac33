#include "core/nn/mlm_head.h"

#include <algorithm>

namespace lodestone {

namespace {

/// Rows [begin, end) with the padding that follows them; begin is a multiple of the row bucket.
Activation rows_of(const Exec& ex, const Activation& x, int64_t begin, int64_t end) {
  return {x.padded.rows(begin, begin + padded_rows(ex, end - begin)), end - begin};
}

/// The columns [0, columns) of a tile's memory as a matrix of its own.
Activation narrowed(const Activation& x, int64_t columns) {
  const int64_t rows = x.padded.dim(0);
  return {x.padded.slice({0, rows * columns}).reshape({rows, columns}), x.rows};
}

}  // namespace

MlmHead::Transformed MlmHead::transform(Exec& ex, const ParamStore& params, const Activation& x) const {
  const auto part = [&](Padding padding) { return take_rows(ex, ex.compute, x.rows, hidden(), padding); };
  const Transformed y{part(Padding::any), part(Padding::any), part(Padding::zero), ex.arena.tensor(ex.wide(), {x.rows}),
                      ex.arena.tensor(ex.wide(), {x.rows})};
  transform_.forward(ex, params, x, y.u);
  hidden_activation_forward(ex, activation_, y.u, y.h);
  ex.backend.layer_norm_forward(y.h.real(), params.masters(norm_.gamma), params.masters(norm_.beta), norm_.eps, y.t.real(), y.mean, y.rstd);
  return y;
}

int64_t MlmHead::tile_columns(int64_t rows) const {
  const int64_t columns = std::clamp(tile_.elements / rows, int64_t{1}, vocab());
  return columns < vocab() && columns > 64 ? columns / 64 * 64 : columns;  // whole blocks of the products
}

void MlmHead::logits(Exec& ex, const ParamStore& params, const Activation& t, int64_t first, const Activation& logits) const {
  const int64_t end = first + logits.padded.dim(1);
  ex.backend.linear(t.padded, params.compute(word_, {vocab(), hidden()}).rows(first, end), params.masters(bias_).slice({first, end}),
                    logits.padded);
}

void MlmHead::row_losses(Exec& ex, const ParamStore& params, const Activation& t, ConstTensor labels, Tensor lse, Tensor total) const {
  const auto scope = ex.arena.scope();
  const Tensor target = ex.arena.tensor(ex.wide(), {t.rows});
  const int64_t columns = tile_columns(t.padded.dim(0));
  const Activation tile{ex.arena.tensor(ex.wide(), {t.padded.dim(0), columns}), t.rows};
  for (int64_t first = 0; first < vocab(); first += columns) {
    const Activation part = narrowed(tile, std::min(columns, vocab() - first));
    logits(ex, params, t, first, part);
    ex.backend.cross_entropy_forward(part.real(), labels, first, lse, target);
  }
  ex.backend.add_differences(lse, target, total);
}

void MlmHead::value(Exec& ex, const ParamStore& params, const Activation& x, ConstTensor labels, Tensor total) const {
  if (x.rows == 0) return;
  const auto scope = ex.arena.scope();
  const Transformed y = transform(ex, params, x);
  const int64_t step = padded_rows(ex, tile_.rows);
  for (int64_t begin = 0; begin < x.rows; begin += step) {
    const auto inner = ex.arena.scope();
    const Activation t = rows_of(ex, y.t, begin, std::min(begin + step, x.rows));
    row_losses(ex, params, t, labels.slice({begin, begin + t.rows}), ex.arena.tensor(ex.wide(), {t.rows}), total);
  }
}

// With p = softmax(t word^T + bias) and d = weight (p - one_hot(label)):  dt = d word;  d_word += d^T t;  d_bias += column sums of d.
void MlmHead::gradient(Exec& ex, const ParamStore& params, const Activation& x, ConstTensor labels, double weight, const Activation& dx,
                       Tensor grads, Tensor total) const {
  if (x.rows == 0) return;
  const auto scope = ex.arena.scope();
  const Transformed y = transform(ex, params, x);
  const Activation dt = take_rows(ex, ex.wide(), x.rows, hidden(), Padding::any);
  const int64_t step = padded_rows(ex, tile_.rows);
  for (int64_t begin = 0; begin < x.rows; begin += step) {
    const auto inner = ex.arena.scope();
    const int64_t end = std::min(begin + step, x.rows);
    const Activation t = rows_of(ex, y.t, begin, end), d_rows = rows_of(ex, dt, begin, end);
    const ConstTensor tile_labels = labels.slice({begin, end});
    const Tensor lse = ex.arena.tensor(ex.wide(), {t.rows});
    row_losses(ex, params, t, tile_labels, lse, total);
    const int64_t columns = tile_columns(t.padded.dim(0));
    const Activation tile{ex.arena.tensor(ex.wide(), {t.padded.dim(0), columns}), t.rows};
    const Activation d_tile = ex.compute == ex.wide() ? tile : Activation{ex.arena.tensor(ex.compute, tile.padded.shape()), t.rows};
    for (int64_t first = 0; first < vocab(); first += columns) {
      const int64_t last = std::min(first + columns, vocab());
      const Activation part = narrowed(tile, last - first), d = narrowed(d_tile, last - first);
      logits(ex, params, t, first, part);
      ex.backend.cross_entropy_backward(part.real(), tile_labels, first, lse, weight, d.real());
      clear_padding(ex, d);
      ex.backend.gemm(Op::none, d.padded, Op::none, params.compute(word_, {vocab(), hidden()}).rows(first, last), 1.0,
                      first == 0 ? 0.0 : 1.0, d_rows.padded);
      ex.backend.linear_gradients(d.padded, t.padded, grads.slice(word_).reshape({vocab(), hidden()}).rows(first, last),
                                  grads.slice(bias_).slice({first, last}));
    }
  }
  const Activation du = take_rows(ex, ex.compute, x.rows, hidden(), Padding::zero);
  ex.backend.cast(dt.real(), du.real());
  ex.backend.layer_norm_backward(du.real(), y.h.real(), params.masters(norm_.gamma), y.mean, y.rstd, du.real(), grads.slice(norm_.gamma),
                                 grads.slice(norm_.beta));
  hidden_activation_backward(ex, activation_, y.u, du, du);
  transform_.backward(ex, params, x, du, Linear::Into::set, dx, grads);
}

}  // namespace lodestone
