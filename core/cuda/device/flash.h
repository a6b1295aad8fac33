// What the warps of flash attention share: 16 rows of a text each, and products whose operands come straight from rows in global memory.
// Which element of a row meets which step of a product is free as long as both sides agree; here a lane takes 16 bytes of a row at once, so
// that no operand goes through shared memory and blocks never wait.
#pragma once

#include <cstring>

#include "core/cuda/device/ptx.h"
#include "core/cuda/device/texts.h"

namespace lodestone::cuda {

constexpr int slab_rows = 16;

/// Place of a thread in the tiles of ptx.h: r and q.
struct LanePlace {
  int r = static_cast<int>(threadIdx.x) % warp_size / 4, q = static_cast<int>(threadIdx.x) % 4;
};

/// Sixteen rows of one text, from row `first` on, which one warp computes.
struct Slab {
  int64_t begin;
  int text, length, first;

  /// Row j of the text; the last one where there is none: what it holds is read and has no weight.
  __device__ __forceinline__ int of_text(int j) const { return std::min(j, length - 1); }
  /// Row i of the slab in its text, or the text's last one.
  __device__ __forceinline__ int row(int i) const { return of_text(first + i); }
  __device__ __forceinline__ bool has(int i) const { return first + i < length; }
};

/// Calls body(slab) for every slab whose first row is among the 16 tokens of the warp, whose number among all is `warp`: one slab where
/// texts are long, more where they are short. All lanes call it.
template <class Body>
__device__ __forceinline__ void each_slab(const TextsView& texts, int warp, const Body& body) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size, from = warp * slab_rows;
  const int mine = from + lane;
  unsigned leaders = __ballot_sync(~0u, lane < slab_rows && mine < texts.tokens && texts.place[mine] % slab_rows == 0);
  while (leaders != 0) {
    const int s = from + __ffs(static_cast<int>(leaders)) - 1;
    leaders &= leaders - 1;
    const int text = texts.text_of[s];
    const int64_t begin = texts.offsets[text];
    body(Slab{begin, text, static_cast<int>(texts.offsets[text + 1] - begin), static_cast<int>(s - begin)});
  }
}

/// left = two rows of D elements, at upper and lower, as the left operand of D / 16 steps.
template <int D>
__device__ __forceinline__ void load_left(const bf16* upper, const bf16* lower, LanePlace at, LeftTile (&left)[D / 16]) {
#pragma unroll
  for (int c = 0; c < D / 32; ++c)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const uint4 x = *reinterpret_cast<const uint4*>((h == 0 ? upper : lower) + 32 * c + 8 * at.q);
      left[2 * c].at[h] = x.x;
      left[2 * c].at[2 + h] = x.y;
      left[2 * c + 1].at[h] = x.z;
      left[2 * c + 1].at[2 + h] = x.w;
    }
}

/// The product of two such left operands' rows, upper with upper and lower with lower, summed over the lanes of a row.
template <int D>
__device__ __forceinline__ void row_products(const LeftTile (&a)[D / 16], const LeftTile (&b)[D / 16], float& upper, float& lower) {
  const auto add = [](uint32_t x, uint32_t y, float& sum) {
    sum += __uint_as_float(x << 16) * __uint_as_float(y << 16);
    sum += __uint_as_float(x & 0xffff0000u) * __uint_as_float(y & 0xffff0000u);
  };
  upper = lower = 0;
#pragma unroll
  for (int c = 0; c < D / 16; ++c) {
    add(a[c].at[0], b[c].at[0], upper);
    add(a[c].at[2], b[c].at[2], upper);
    add(a[c].at[1], b[c].at[1], lower);
    add(a[c].at[3], b[c].at[3], lower);
  }
#pragma unroll
  for (int bits = 1; bits < 4; bits *= 2) {
    upper += __shfl_xor_sync(~0u, upper, bits);
    lower += __shfl_xor_sync(~0u, lower, bits);
  }
}

/// sum [16,8] += left [16,D] right^T, where a lane's `row` is row r of right [8,D].
template <int D>
__device__ __forceinline__ void multiply_rows(SumTile& sum, const LeftTile (&left)[D / 16], const bf16* row, LanePlace at) {
#pragma unroll
  for (int c = 0; c < D / 32; ++c) {
    const uint4 x = *reinterpret_cast<const uint4*>(row + 32 * c + 8 * at.q);
    multiply_add(sum, left[2 * c], {{x.x, x.y}});
    multiply_add(sum, left[2 * c + 1], {{x.z, x.w}});
  }
}

/// How many columns of a row a lane takes at once where rows are summed up.
template <int D>
constexpr int columns_at_once = D == 32 ? 4 : 8;

/// sums += weights [16,16] rows [16,D], where row(i) is where row i lies. A lane's sums are of 2 C columns side by side, C =
/// columns_at_once, for every 8 C columns: store_sums() knows which.
template <int D, class Row>
__device__ __forceinline__ void add_rows(SumTile (&sums)[D / 8], const LeftTile& weights, const Row& row, LanePlace at) {
  constexpr int C = columns_at_once<D>;
  using Word = std::conditional_t<C == 4, uint2, uint4>;
#pragma unroll
  for (int h = 0; h < D / (8 * C); ++h) {
    alignas(16) uint32_t x[4][C / 2];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int k = 2 * at.q + i % 2 + i / 2 * 8;
      *reinterpret_cast<Word*>(x[i]) = *reinterpret_cast<const Word*>(row(k) + 8 * C * h + C * at.r);
    }
#pragma unroll
    for (int i = 0; i < C; ++i) {
      const unsigned halves = i % 2 == 0 ? 0x5410 : 0x7632;  // the lower or upper half of each word
      multiply_add(sums[C * h + i], weights,
                   {{__byte_perm(x[0][i / 2], x[1][i / 2], halves), __byte_perm(x[2][i / 2], x[3][i / 2], halves)}});
    }
  }
}

/// Row r times factor[0], row r + 8 times factor[1].
template <int D>
__device__ __forceinline__ void scale_rows(SumTile (&sums)[D / 8], const float (&factor)[2]) {
#pragma unroll
  for (SumTile& sum : sums)
#pragma unroll
    for (int e = 0; e < 4; ++e) sum.at[e] *= factor[e / 2];
}

/// Two rows of D elements from what add_rows() has summed up, times their factors; a row that is null is not written.
template <int D>
__device__ __forceinline__ void store_sums(const SumTile (&sums)[D / 8], float upper_factor, float lower_factor, bf16* upper, bf16* lower,
                                           LanePlace at) {
  constexpr int C = columns_at_once<D>;
#pragma unroll
  for (int h = 0; h < D / (8 * C); ++h) {
    Several<bf16, 2 * C> u{}, l{};
#pragma unroll
    for (int i = 0; i < 2 * C; ++i) {
      const SumTile& sum = sums[C * h + i % C];
      u.at[i] = from_wide<bf16>(sum.at[i / C] * upper_factor);
      l.at[i] = from_wide<bf16>(sum.at[2 + i / C] * lower_factor);
    }
    const int column = 8 * C * h + 2 * C * at.q;
    if (upper != nullptr) store(upper + column, u);
    if (lower != nullptr) store(lower + column, l);
  }
}

/// Two numbers rounded to bf16, the first one in the lower half.
__device__ __forceinline__ uint32_t pack(float low, float high) {
  const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
  uint32_t word = 0;
  memcpy(&word, &both, sizeof word);
  return word;
}

/// The results [16,16] of two products as the left operand of the next one.
__device__ __forceinline__ LeftTile as_left(const SumTile (&sums)[2]) {
  return {{pack(sums[0].at[0], sums[0].at[1]), pack(sums[0].at[2], sums[0].at[3]), pack(sums[1].at[0], sums[1].at[1]),
           pack(sums[1].at[2], sums[1].at[3])}};
}

}  // namespace lodestone::cuda
