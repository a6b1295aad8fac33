// Embedding: token ids to the first block's input, dropout(layer_norm(word + position + type)), and its backward.
#pragma once

#include "core/nn/residual_norm.h"

namespace lodestone {

class Embedding {
 public:
  /// `slice` covers the three tables and the norm in the flat vector; word [V,H], position [P,H], type [types,H].
  Embedding(Slice word, Slice position, Slice type, NormParams norm, Slice slice, int64_t hidden, double dropout)
      : word_(word), position_(position), type_(type), norm_(norm), slice_(slice), hidden_(hidden), p_(dropout) {}

  Slice slice() const { return slice_; }

  struct Saved {
    Activation sum;     // [S,H]
    Tensor mean, rstd;  // [S]
  };
  Saved take(Exec& ex, int64_t rows) const;

  /// y [S,H]. Throws Error (internal) when a text is longer than the position table or an id lies outside the vocabulary.
  void forward(Exec& ex, const ParamStore& params, const TokenBatch& tokens, const Saved& saved, const Activation& y) const;
  /// Adds into the gradients of tables and norm; dy is overwritten.
  void backward(Exec& ex, const ParamStore& params, const TokenBatch& tokens, const Saved& saved, const Activation& dy, Tensor grads) const;

  /// The same with rows of `words` [.,H] (wide dtype) in place of the word table's, and their gradient added into d_words.
  void forward(Exec& ex, const ParamStore& params, const TokenBatch& tokens, ConstTensor words, const Saved& saved,
               const Activation& y) const;
  void backward(Exec& ex, const ParamStore& params, const TokenBatch& tokens, const Saved& saved, const Activation& dy, Tensor d_words,
                Tensor grads) const;

  /// The position table, or its gradient, in a flat vector.   [P,H]
  Tensor positions(Tensor flat) const { return table(flat, position_); }

 private:
  Tensor table(Tensor flat, Slice slice) const { return flat.slice(slice).reshape({slice.count() / hidden_, hidden_}); }

  Slice word_, position_, type_;
  NormParams norm_;
  Slice slice_;
  int64_t hidden_;
  double p_;
};

}  // namespace lodestone
