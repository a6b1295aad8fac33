// From tensors to the plain pointers of the vector kernels.
#pragma once

#include "core/backend.h"
#include "core/cpu/vector/table.h"

namespace lodestone {

/// Elements as the kernels store them: float, or uint16_t for bf16. Null for a tensor without memory. Throws Error (internal) unless it is
/// on the CPU.
template <class T>
const T* elements(ConstTensor t) {
  LODE_CHECK(t.device() == Device::cpu, "an operand of a CPU backend does not lie on the CPU");
  return reinterpret_cast<const T*>(t.bytes());
}
template <class T>
T* elements(Tensor t) {
  LODE_CHECK(t.device() == Device::cpu, "an operand of a CPU backend does not lie on the CPU");
  return reinterpret_cast<T*>(t.bytes());
}

/// Calls body(kernels, T{}) with the kernels and the storage type of an f32 or bf16 tensor.
template <class Body>
void by_storage(const vec::Table& table, DType dtype, Body body) {
  if (dtype == DType::bf16)
    body(table.bf16, uint16_t{});
  else
    body(table.f32, float{});
}

/// The mask of an operation over the rows of `tokens`.
inline vec::RowMask row_mask(const TokenBatch& tokens, const Dropout& dropout) {
  const uint32_t threshold = dropout_threshold(dropout.p);
  return {dropout.key.value(),   threshold,     static_cast<float>(1.0 / (1.0 - threshold / 65536.0)), tokens.keys.data(),
          tokens.offsets.data(), tokens.texts()};
}

}  // namespace lodestone
