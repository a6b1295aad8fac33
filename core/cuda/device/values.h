// The dtypes of tensors as kernels see them, and several elements at once through registers of 128 bits.
#pragma once

#include <cuda_bf16.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "core/cuda/device/launch.h"
#include "core/error.h"
#include "core/tensor.h"

namespace lodestone::cuda {

using bf16 = __nv_bfloat16;

/// What sums and statistics beside a T are: f64 for f64, f32 otherwise.
template <class T>
using wide_t = std::conditional_t<std::is_same_v<T, double>, double, float>;

__device__ __forceinline__ double to_wide(double x) { return x; }
__device__ __forceinline__ float to_wide(float x) { return x; }
__device__ __forceinline__ float to_wide(bf16 x) { return __bfloat162float(x); }

/// Rounded to nearest, ties to even.
template <class T, class W>
__device__ __forceinline__ T from_wide(W x) {
  if constexpr (std::is_same_v<T, bf16>)
    return __float2bfloat16(static_cast<float>(x));
  else
    return static_cast<T>(x);
}

/// N elements that lie side by side.
template <class T, int N>
struct alignas(N * sizeof(T) % 16 == 0 ? 16 : alignof(T)) Several {
  T at[N];
};

/// As many elements of T as 16 bytes hold.
template <class T>
constexpr int per_16_bytes = 16 / static_cast<int>(sizeof(T));

/// Reads and writes N elements: by instructions of 128 bits where N fills some, and then p is 16-byte aligned; else one by one. (A struct
/// of bf16 pairs would be copied member by member.)
template <int N, class T>
__device__ __forceinline__ Several<T, N> load(const T* p) {
  Several<T, N> x{};
  if constexpr (N * sizeof(T) % 16 == 0) {
#pragma unroll
    for (int i = 0; i < N * static_cast<int>(sizeof(T)) / 16; ++i) reinterpret_cast<uint4*>(&x)[i] = reinterpret_cast<const uint4*>(p)[i];
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) x.at[i] = p[i];
  }
  return x;
}
template <int N, class T>
__device__ __forceinline__ void store(T* p, const Several<T, N>& x) {
  if constexpr (N * sizeof(T) % 16 == 0) {
#pragma unroll
    for (int i = 0; i < N * static_cast<int>(sizeof(T)) / 16; ++i) reinterpret_cast<uint4*>(p)[i] = reinterpret_cast<const uint4*>(&x)[i];
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) p[i] = x.at[i];
  }
}

/// Whether every address is 16-byte aligned.
inline bool aligned_16(std::initializer_list<const void*> addresses) {
  return std::all_of(addresses.begin(), addresses.end(), [](const void* p) { return reinterpret_cast<uintptr_t>(p) % 16 == 0; });
}
template <class... Tensors>
bool aligned_16(const Tensors&... x) {
  return aligned_16({x.bytes()...});
}

/// Calls body(std::integral_constant<int, N>{}) with the elements to take at once: where `wide`, so many that they fill 16 bytes in each T;
/// else 1.
template <class... T, class Body>
void for_width(bool wide, const Body& body) {
  if (wide)
    body(std::integral_constant<int, std::max({per_16_bytes<T>...})>{});
  else
    body(std::integral_constant<int, 1>{});
}

/// Elements of a tensor on the device.
template <class T>
const T* elements(ConstTensor x) {
  return reinterpret_cast<const T*>(x.bytes());
}
template <class T>
T* elements(Tensor x) {
  return reinterpret_cast<T*>(x.bytes());
}

/// Calls body(T{}) with the element type of a compute dtype: f64, f32 or bf16. Throws Error (internal) for another.
template <class Body>
void for_compute(const char* op, DType dtype, const Body& body) {
  switch (dtype) {
    case DType::f64:
      return body(double{});
    case DType::f32:
      return body(float{});
    case DType::bf16:
      return body(bf16{});
    case DType::i32:
    case DType::i64:
    case DType::u8:
      break;
  }
  throw Error(ExitCode::internal, "internal", cat(op, ": a GPU computes nothing in ", name_of(dtype)));
}
/// The same of a wide dtype: f64 or f32.
template <class Body>
void for_wide(const char* op, DType dtype, const Body& body) {
  if (dtype == DType::f64) return body(double{});
  if (dtype == DType::f32) return body(float{});
  throw Error(ExitCode::internal, "internal", cat(op, ": ", name_of(dtype), " where f64 or f32 belongs"));
}

}  // namespace lodestone::cuda
