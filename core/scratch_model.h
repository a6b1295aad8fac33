// ScratchModel: how much memory beside the arena a backend would hold after operations that nobody runs.
#pragma once

#include "core/backend.h"

namespace lodestone {

/// Is told of operations one after the other, in the order in which the backend would run them. Operands say their shapes and dtypes, as
/// in Backend; their bytes are never read. Each call throws what the operation would throw of these shapes. Operations that have no call
/// here take no such memory. The backend need not live on. This model stands for one that holds none.
class ScratchModel {
 public:
  virtual ~ScratchModel() = default;
  /// Bytes that the backend would hold by now.
  virtual size_t held_bytes() const { return 0; }
  virtual void linear(ConstTensor /*x*/, ConstTensor /*weight*/, ConstTensor /*bias*/, ConstTensor /*y*/) {}
  virtual void gemm(Op /*op_a*/, ConstTensor /*a*/, Op /*op_b*/, ConstTensor /*b*/, double /*alpha*/, double /*beta*/, ConstTensor /*c*/) {}
  /// layer_norm_backward and residual_layer_norm_backward of rows x.
  virtual void norm_backward(ConstTensor /*x*/) {}
  /// Attention over these texts, of one stream or two, forward or backward. ctx [S,H].
  virtual void attention(const DeviceTexts& /*texts*/, ConstTensor /*ctx*/, int64_t /*heads*/) {}
  virtual void sum_squares(ConstTensor /*x*/) {}
};

}  // namespace lodestone
