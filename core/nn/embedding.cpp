#include "core/nn/embedding.h"

namespace lodestone {

Embedding::Saved Embedding::take(Exec& ex, int64_t rows) const {
  const Activation sum = take_rows(ex, ex.compute, rows, hidden_, Padding::any);
  return {sum, ex.arena.tensor(ex.wide(), {rows}), ex.arena.tensor(ex.wide(), {rows})};
}

void Embedding::forward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Saved& saved, const Activation& y) const {
  forward(ex, params, texts, table(params.masters({0, slice_.end}), word_), saved, y);
}

void Embedding::backward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Saved& saved, const Activation& dy,
                         Tensor grads) const {
  backward(ex, params, texts, saved, dy, table(grads, word_), grads);
}

void Embedding::forward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, ConstTensor words, const Saved& saved,
                        const Activation& y) const {
  LODE_CHECK(texts.texts() == 0 || texts.shortest >= 1, "a text of a batch has no tokens");
  const Tensor masters = params.masters({0, slice_.end}), sum = saved.sum.real();
  ex.backend.embed_forward(texts, words, positions(masters), table(masters, type_), sum);
  ex.backend.layer_norm_forward(sum, masters.slice(norm_.gamma), masters.slice(norm_.beta), norm_.eps, y.real(), saved.mean, saved.rstd);
  const Dropout dropout = dropout_at(ex, texts, p_, 0, Place::embedding);
  if (dropout.p > 0) ex.backend.dropout(texts, y.real(), dropout, y.real());
}

void Embedding::backward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Saved& saved, const Activation& dy,
                         Tensor d_words, Tensor grads) const {
  const Tensor d = dy.real();
  const Dropout dropout = dropout_at(ex, texts, p_, 0, Place::embedding);
  if (dropout.p > 0) ex.backend.dropout(texts, d, dropout, d);
  ex.backend.layer_norm_backward(d, saved.sum.real(), params.masters(norm_.gamma), saved.mean, saved.rstd, d, grads.slice(norm_.gamma),
                                 grads.slice(norm_.beta));
  ex.backend.embed_backward(texts, d, d_words, positions(grads), table(grads, type_));
}

}  // namespace lodestone
