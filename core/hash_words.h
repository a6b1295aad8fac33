// Hashes as tensors: texts and documents are known by 64 bits, which lie in i64 tensors as they are. They are compared, never added.
#pragma once

#include <cstdint>
#include <span>

#include "core/tensor.h"

namespace lodestone {

/// [n] views, in either direction. The tensor is i64 and on the CPU.
inline ConstTensor hash_words(std::span<const uint64_t> hashes) {
  return {reinterpret_cast<const std::byte*>(hashes.data()), DType::i64, Shape{std::ssize(hashes)}};
}
inline std::span<const uint64_t> hashes_in(ConstTensor words) {
  const std::span<const int64_t> values = words.host<int64_t>();
  return {reinterpret_cast<const uint64_t*>(values.data()), values.size()};
}

}  // namespace lodestone
