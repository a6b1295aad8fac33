// Dropout as core/rng.h names it, on the device: the same bits.
#pragma once

#include "core/cuda/device/launch.h"
#include "core/rng.h"

namespace lodestone::cuda {

/// philox() of core/rng.h, four words at once.
__device__ __forceinline__ uint4 philox4(uint64_t key, uint4 c) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint32_t high0 = __umulhi(0xD2511F53u, c.x), low0 = 0xD2511F53u * c.x;
    const uint32_t high1 = __umulhi(0xCD9E8D57u, c.z), low1 = 0xCD9E8D57u * c.z;
    c = make_uint4(high1 ^ c.y ^ k0, low1, high0 ^ c.w ^ k1, low0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

/// Which elements are dropped, as a kernel is told. threshold 0 drops nothing.
struct DropoutMask {
  uint64_t key = 0;
  uint32_t threshold = 0;
  double keep = 1;  // what the kept ones are multiplied with

  DropoutMask(Key from, double p) : key(from.value()), threshold(dropout_threshold(p)), keep(1.0 / (1.0 - threshold / 65536.0)) {}

  /// dropout_bits() of core/rng.h: whether the element stays.
  __device__ __forceinline__ bool keeps(uint64_t text, uint32_t index, uint32_t e) const {
    const uint32_t j = e % 128;
    const uint4 r = philox4(key, make_uint4(static_cast<uint32_t>(text), static_cast<uint32_t>(text >> 32), index, e / 128 * 16 + j % 16));
    const uint32_t which = j / 16 % 4, word = which == 0 ? r.x : which == 1 ? r.y : which == 2 ? r.z : r.w;
    return (j < 64 ? word & 0xffffu : word >> 16) >= threshold;
  }
  /// What the element is multiplied with, in W: 0, or 1 / (1 - p').
  template <class W>
  __device__ __forceinline__ W factor(uint64_t text, uint32_t index, uint32_t e) const {
    if (threshold == 0) return W{1};
    return keeps(text, index, e) ? static_cast<W>(keep) : W{0};
  }
};

}  // namespace lodestone::cuda
