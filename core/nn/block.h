// Block: one transformer layer, attention then feed-forward, its saved state and its backward.
#pragma once

#include "core/nn/attention.h"
#include "core/nn/mlp.h"

namespace lodestone {

/// What backward needs of one block, beside the block's input x.
struct BlockSaved {
  SelfAttention::Saved attention;
  Activation middle;  // [S,H] between the two halves
  Mlp::Saved mlp;
};

class Block {
 public:
  /// `slice` covers the block's parameters in the flat vector.
  Block(SelfAttention attention, Mlp mlp, Slice slice) : attention_(attention), mlp_(mlp), slice_(slice) {}

  Slice slice() const { return slice_; }

  /// Arena memory for one forward over `rows` tokens. Keep::nothing shares memory between parts that are not alive together;
  /// backward then is impossible.
  BlockSaved take(Exec& ex, int64_t rows, Keep keep) const;
  /// y [S,H] from x [S,H]; fills saved. y is not x.
  void forward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Activation& x, const BlockSaved& saved,
               const Activation& y) const;
  /// dy = dL/dy becomes dL/dx, in place; gradients of the parameters are added into grads. x and ex.key as given to forward.
  void backward(Exec& ex, const ParamStore& params, const DeviceTexts& texts, const Activation& x, const BlockSaved& saved,
                const Activation& dy, Tensor grads) const;

 private:
  SelfAttention attention_;
  Mlp mlp_;
  Slice slice_;
};

}  // namespace lodestone
