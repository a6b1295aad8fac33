// Embedding: token ids to the first block's input, dropout(layer_norm(word + position + type)), and its backward.
#pragma once

#include "core/nn/residual_norm.h"

namespace lodestone {

class Embedding {
 public:
  /// `slice` covers the three tables and the norm in the flat vector; word [V,H], position [P,H], type [types,H]. The first token of a
  /// text has row `first_position` of the position table.
  Embedding(Slice word, Slice position, int64_t first_position, Slice type, NormParams norm, Slice slice, int64_t hidden, double dropout)
      : word_(word),
        position_(position),
        first_position_(first_position),
        type_(type),
        norm_(norm),
        slice_(slice),
        hidden_(hidden),
        p_(dropout) {}

  Slice slice() const { return slice_; }

  struct Saved {
    Activation sum;     // [S,H]
    Tensor mean, rstd;  // [S]
  };
  Saved take(Exec& ex, int64_t rows) const;

  /// y [S,H]. Throws Error (internal) when a text is longer than the position table or an id lies outside the vocabulary.
  void forward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Saved& saved, const Activation& y) const;
  /// Adds into the gradients of tables and norm; dy is overwritten.
  void backward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Saved& saved, const Activation& dy, Tensor grads) const;

  /// The same with rows of `words` [.,H] (wide dtype) in place of the word table's, and their gradient added into d_words.
  void forward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, ConstTensor words, const Saved& saved,
               const Activation& y) const;
  void backward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Saved& saved, const Activation& dy, Tensor d_words,
                Tensor grads) const;

  /// The rows of the position table that texts have, or their gradient, in a flat vector.   [P - first_position,H]
  Tensor positions(Tensor flat) const {
    const Tensor all = table(flat, position_);
    return all.rows(first_position_, all.dim(0));
  }

 private:
  Tensor table(Tensor flat, Slice slice) const { return flat.slice(slice).reshape({slice.count() / hidden_, hidden_}); }

  Slice word_, position_;
  int64_t first_position_;
  Slice type_;
  NormParams norm_;
  Slice slice_;
  int64_t hidden_;
  double p_;
};

}  // namespace lodestone
