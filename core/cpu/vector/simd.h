// Vectors of floats as this instruction set has them: loads and stores of f32 and bf16, sums, exp, and the normal tail.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "core/cpu/vector/table.h"

// LODE_ISA is v2 (SSE4.2), v3 (AVX2 and FMA) or v4 (AVX-512), given by the build.
#define LODE_JOIN2(a, b) a##b
#define LODE_JOIN(a, b) LODE_JOIN2(a, b)
#define LODE_VEC LODE_JOIN(vec_, LODE_ISA)

namespace lodestone::LODE_VEC {

#if defined(__AVX512F__)
inline constexpr int64_t lanes = 16;
#elif defined(__AVX2__)
inline constexpr int64_t lanes = 8;
#else
inline constexpr int64_t lanes = 4;
#endif

#define LODE_MEMBER inline __attribute__((always_inline))
#define LODE_INLINE static LODE_MEMBER

typedef float vf __attribute__((vector_size(4 * lanes)));
typedef int32_t vi __attribute__((vector_size(4 * lanes)));
typedef uint32_t vu __attribute__((vector_size(4 * lanes)));
typedef uint64_t vq __attribute__((vector_size(4 * lanes)));
typedef uint16_t vh __attribute__((vector_size(2 * lanes)));

LODE_INLINE vf splat(float x) { return x - vf{}; }

/// Access to `lanes` elements, and to fewer at the end of a row (missing ones read as 0 and are not written).
struct Full {};
struct Part {
  int64_t count;
};

LODE_INLINE vf load(const float* p, Full = {}) {
  vf v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
LODE_INLINE vf load(const uint16_t* p, Full = {}) {
  vh h;
  __builtin_memcpy(&h, p, sizeof h);
  return (vf)(__builtin_convertvector(h, vu) << 16);
}
template <class T>
LODE_INLINE vf load(const T* p, Part part) {
  T kept[lanes] = {};
  for (int64_t i = 0; i < part.count; ++i) kept[i] = p[i];
  return load(kept);
}

LODE_INLINE void store(float* p, vf v, Full = {}) { __builtin_memcpy(p, &v, sizeof v); }
/// To nearest, ties to even; a NaN stays one.
LODE_INLINE void store(uint16_t* p, vf v, Full = {}) {
  const vu bits = (vu)v;
  const vu rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const vu nan = (bits >> 16) | 0x40u;
  // NOLINTNEXTLINE(misc-redundant-expression): a lane that is NaN does not equal itself
  const vh h = __builtin_convertvector(v == v ? rounded : nan, vh);
  __builtin_memcpy(p, &h, sizeof h);
}
template <class T>
LODE_INLINE void store(T* p, vf v, Part part) {
  T kept[lanes];
  store(kept, v);
  for (int64_t i = 0; i < part.count; ++i) p[i] = kept[i];
}
LODE_INLINE float load_one(const float* p) { return *p; }
LODE_INLINE float load_one(const uint16_t* p) { return __builtin_bit_cast(float, static_cast<uint32_t>(*p) << 16); }

/// v with the lanes beyond the part cleared.
LODE_INLINE vf within(vf v, Full) { return v; }
LODE_INLINE vf within(vf v, Part part) {
  for (int64_t i = part.count; i < lanes; ++i) v[i] = 0;
  return v;
}

/// body(i, Full{}) for each whole vector of [begin, end), then body(i, Part{rest}).
template <class Body>
LODE_INLINE void sweep(int64_t begin, int64_t end, Body body) {
  int64_t i = begin;
  for (; i + lanes <= end; i += lanes) body(i, Full{});
  if (i < end) body(i, Part{end - i});
}

LODE_INLINE float sum_of(vf v) {
  float s[lanes];
  store(s, v);
  for (int64_t half = lanes / 2; half > 0; half /= 2)
    for (int64_t i = 0; i < half; ++i) s[i] += s[i + half];
  return s[0];
}
LODE_INLINE vf larger(vf a, vf b) { return a > b ? a : b; }
LODE_INLINE float max_of(vf v) {
  float s[lanes];
  store(s, v);
  for (int64_t half = lanes / 2; half > 0; half /= 2)
    for (int64_t i = 0; i < half; ++i) s[i] = s[i] > s[i + half] ? s[i] : s[i + half];
  return s[0];
}
LODE_INLINE vf absolute(vf v) { return (vf)((vu)v & 0x7fffffffu); }

/// e^x within 2 units in the last place for x in [-80, 88]; e^-80 below, so that a product with a usual number is never
/// denormal (which would cost a hundred cycles); NaN for NaN; wrong above.
/// x = n ln 2 + r, |r| <= ln 2 / 2; e^r by a polynomial of degree 6 (minimax, 3e-9), 2^n by the exponent bits.
LODE_INLINE vf exponential_below_88(vf x) {
  const vf clamped = x < -80.0f ? splat(-80.0f) : x;
  const vf t = clamped * 1.44269504f;
  const vi n = __builtin_convertvector(t + (t < 0.0f ? splat(-0.5f) : splat(0.5f)), vi);
  const vf whole = __builtin_convertvector(n, vf);
  const vf r = (clamped - whole * 0.693359375f) + whole * 2.12194440e-4f;
  vf p = r * 1.381446588e-3f + 8.368780530e-3f;
  p = p * r + 4.166839424e-2f;
  p = p * r + 1.666652011e-1f;
  p = p * r + 4.999999341e-1f;
  p = p * (r * r) + r + 1.0f;
  return p * (vf)((n + 127) << 23);
}

/// The same for any x: 0 below -80, infinity above 88.
LODE_INLINE vf exponential(vf x) {
  vf y = exponential_below_88(x > 88.0f ? splat(88.0f) : x);
  y = x < -80.0f ? vf{} : y;
  return x > 88.0f ? splat(__builtin_inff()) : y;
}

/// The distribution function of the standard normal and exp(-x^2 / 2), both to about 5e-7 of their value for |x| <= 12.5
/// and constant beyond, where they are below 1e-33.
/// For a = |x|: Phi(-a) = exp(-a^2 / 2) P(a) / Q(a), a rational minimax fit (5e-9) of half the scaled erfc.
struct Normal {
  vf cdf, bell;
};
LODE_INLINE Normal normal(vf x) {
  const vf far = absolute(x), a = far > 12.5f ? splat(12.5f) : far;
  vf p = a * 4.036955004e-3f + 4.009777175e-2f;
  p = p * a + 1.816449812e-1f;
  p = p * a + 4.361451104e-1f;
  p = p * a + 5.000000026e-1f;
  vf q = a * 1.011900671e-2f + 1.005174185e-1f;
  q = q * a + 4.652729804e-1f;
  q = q * a + 1.195892683f;
  q = q * a + 1.670175150f;
  q = q * a + 1.0f;
  const vf bell = exponential_below_88(-0.5f * a * a);
  const vf tail = bell * (p / q);
  return {x > 0.0f ? 1.0f - tail : tail, bell};
}

/// The products of the even 32-bit lanes, 64 bits each.
#if defined(__AVX512F__)
LODE_INLINE vq multiply_even(vq a, vq b) { return (vq)_mm512_maskz_mul_epu32(0xff, (__m512i)a, (__m512i)b); }
#elif defined(__AVX2__)
LODE_INLINE vq multiply_even(vq a, vq b) { return (vq)_mm256_mul_epu32((__m256i)a, (__m256i)b); }
#else
LODE_INLINE vq multiply_even(vq a, vq b) { return (vq)_mm_mul_epu32((__m128i)a, (__m128i)b); }
#endif

/// Square roots of all lanes.
#if defined(__AVX512F__)
LODE_INLINE vf square_root(vf v) { return (vf)_mm512_maskz_sqrt_ps(0xffff, (__m512)v); }
#elif defined(__AVX2__)
LODE_INLINE vf square_root(vf v) { return (vf)_mm256_sqrt_ps((__m256)v); }
#else
LODE_INLINE vf square_root(vf v) { return (vf)_mm_sqrt_ps((__m128)v); }
#endif

}  // namespace lodestone::LODE_VEC
