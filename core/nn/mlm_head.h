// MlmHead: cross-entropy of predicted tokens, layer_norm(activation(dense(x))) word^T + bias, and its gradient, without ever holding all
// logits.
#pragma once

#include "core/nn/hidden_activation.h"
#include "core/nn/linear.h"
#include "core/nn/residual_norm.h"

namespace lodestone {

/// Size of the logits held at a time: `rows` (rounded up to the row bucket) times so many words that they are at most `elements`, but
/// at least one word. With the defaults 4 MiB in f32, and 2 MiB more for their gradient in bf16, whatever R and V are.
struct MlmTile {
  int64_t rows = 1024, elements = int64_t{1} << 20;
};

/// Rows x are vectors of single tokens, gathered from wherever they are predicted. The word table is the embeddings': its gradient
/// is added where theirs is.
class MlmHead {
 public:
  /// word [V,H]; bias [V]; `slice` covers transform, norm and bias.
  MlmHead(Linear transform, HiddenActivation activation, NormParams norm, Slice word, Slice bias, Slice slice, MlmTile tile)
      : transform_(transform), activation_(activation), norm_(norm), word_(word), bias_(bias), slice_(slice), tile_(tile) {}

  Slice slice() const { return slice_; }

  /// total (f64 [1]) += sum over the rows of -log softmax(logits)[label].   x [R,H], labels [R] i32 below V.
  void value(Exec& ex, const ParamStore& params, const Activation& x, ConstTensor labels, Tensor total) const;
  /// The same; dx = weight * gradient, and weight * the gradients of the parameters is added into grads. Logits are computed
  /// twice: once for the softmax's denominators, once for the gradient.
  void gradient(Exec& ex, const ParamStore& params, const Activation& x, ConstTensor labels, double weight, const Activation& dx,
                Tensor grads, Tensor total) const;

 private:
  /// x transformed, and what its backward needs.
  struct Transformed {
    Activation u, h, t;  // [R,H] dense, after the activation, after the norm
    Tensor mean, rstd;   // [R]
  };
  Transformed transform(Exec& ex, const ParamStore& params, const Activation& x) const;
  int64_t hidden() const { return transform_.in(); }
  int64_t vocab() const { return bias_.count(); }
  /// Columns of logits held beside `rows` rows.
  int64_t tile_columns(int64_t rows) const;
  /// logits [R,K] = the rows t times the words [first, first + K), plus bias.
  void logits(Exec& ex, const ParamStore& params, const Activation& t, int64_t first, const Activation& logits) const;
  /// total += the losses of the rows t; fills lse [R].
  void row_losses(Exec& ex, const ParamStore& params, const Activation& t, ConstTensor labels, Tensor lse, Tensor total) const;

  Linear transform_;
  HiddenActivation activation_;
  NormParams norm_;
  Slice word_, bias_, slice_;
  MlmTile tile_;
};

}  // namespace lodestone
