// Attention over ragged texts in bf16 on tensor cores (FlashAttention-2's order of work, Dao 2023; nothing of its code): one warp has 16
// rows of one head of one text, goes over the text's keys and keeps its sums in registers; no thread waits for another warp. Texts share a
// block, and short ones a warp. Bytes from memory: q, k, v, ctx once each way and their gradients once; from cache every slab reads the
// keys and values of its text: T D / 4 bytes a row and head forward, where T is the text's length. FLOPs on tensor cores, rows and T
// rounded up to 16: 4 T D a row and head forward, 14 T D backward, where scores are made twice so that no sum is atomic, and thrice with
// heads of 128: 16 T D. Dropout costs a call of Philox for 8 scores each way, and a bit a score.
#include "core/cuda/flash_attention.h"

#include <limits>

#include "core/cuda/device/flash.h"

namespace lodestone::cuda {

namespace {

constexpr int block_threads = 128, block_tokens = block_threads / warp_size * slab_rows;
constexpr int group_keys = 128;  // whose dropout 16 calls of Philox decide, 8 keys each
/// Blocks on a multiprocessor that registers must leave room for.
template <int D>
constexpr int blocks_at_once = D == 32   ? 4
                               : D == 64 ? 3
                                         : 2;
constexpr float log2_e = 1.44269504f, ln_2 = 0.693147181f;

/// Of blocks of four warps, where block g A + a has 64 tokens of head a.
__device__ __forceinline__ int warp_number(int64_t heads) {
  return static_cast<int>(blockIdx.x / heads * (block_threads / warp_size)) + static_cast<int>(threadIdx.x) / warp_size;
}

/// What dropout keeps: bytes[((s A + a) groups + g) 16 + c] has bit m where row s keeps key 128 g + 16 m + c of head a.
struct Kept {
  const uint8_t* bytes = nullptr;  // null: everything
  int64_t heads = 0, groups = 0;
  float factor = 1;  // of what is kept

  /// Bytes between two rows of a head.
  __device__ __forceinline__ int64_t stride() const { return heads * groups * 16; }
  __device__ __forceinline__ const uint8_t* of(int64_t s, int64_t a, int key) const {
    return bytes + ((s * heads + a) * groups + key / group_keys) * 16;
  }
};

/// Bits of four bytes each: of keys at columns 2q, 2q+1, 2q+8 and 2q+9 of every 16, from `key` on, a multiple of 16, whose bits come first.
__device__ __forceinline__ uint32_t kept_columns(const Kept& kept, int64_t s, int64_t a, int key, LanePlace at) {
  const uint8_t* const group = kept.of(s, a, key);
  const uint32_t low = *reinterpret_cast<const uint16_t*>(group + 2 * at.q),
                 high = *reinterpret_cast<const uint16_t*>(group + 2 * at.q + 8);
  return (low | high << 16) >> (key % group_keys / 16);
}

/// Which of the keys from `first` on row i may not see, n of them at most, as bits from the lowest one on: those that its mask hides, and
/// those behind the text. first is a multiple of n, n divides 64.
template <int n>
__device__ __forceinline__ uint64_t hidden_keys(const AttentionInput<bf16>& in, const Slab& slab, int i, int first) {
  uint64_t hidden = 0;
  if (in.bits != nullptr) {
    hidden = in.hidden(slab.text, slab.begin, slab.length, i)[first / 64] >> (first % 64);
    if (i - first >= 0 && i - first < n) hidden |= uint64_t{1} << (i - first);
  }
  if (slab.length - first < n) hidden |= ~uint64_t{0} << (slab.length - first);
  return hidden;
}

/// Four bytes of Kept in a thread.
__global__ void __launch_bounds__(block_threads)
    keep_bytes(TextsView texts, DropoutMask mask, int64_t heads, int64_t groups, uint8_t* bytes) {
  const int64_t n = static_cast<int64_t>(blockIdx.x) * block_threads + threadIdx.x;
  const int64_t row = n / (4 * groups), s = row / heads;
  if (s >= texts.tokens) return;
  const int64_t text = texts.text_of[s];
  const auto counter = static_cast<uint32_t>(n % (4 * groups) * 4);  // 16 g + c
  if (static_cast<int64_t>(counter / 16 * group_keys + counter % 16) >= texts.offsets[text + 1] - texts.offsets[text]) return;
  const uint64_t key = texts.keys[text];
  const auto index = static_cast<uint32_t>((row % heads) << 16 | texts.place[s]);
  uint32_t four = 0;
#pragma unroll
  for (uint32_t c = 0; c < 4; ++c) {
    const uint4 x = philox4(mask.key, make_uint4(static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32), index, counter + c));
    const uint32_t words[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
    for (uint32_t m = 0; m < 8; ++m) {
      const uint32_t drawn = m < 4 ? words[m] & 0xffffu : words[m - 4] >> 16;
      four |= static_cast<uint32_t>(drawn >= mask.threshold) << (8 * c + m);
    }
  }
  *reinterpret_cast<uint32_t*>(bytes + 4 * n) = four;
}

constexpr int tile_pieces = 4, tile_keys = 16 * tile_pieces;  // forward, between two looks at a row's largest score

/// Calls f(score, piece, place in kept_columns()) with a lane's scores of row r (h = 0) or r + 8 (h = 1).
template <class F>
__device__ __forceinline__ void each_score(SumTile (&scores)[tile_pieces][2], int h, const F& f) {
#pragma unroll
  for (int p = 0; p < tile_pieces; ++p)
#pragma unroll
    for (int e = 0; e < 4; ++e) f(scores[p][e / 2].at[2 * h + e % 2], p, e);
}

/// A row's softmax so far. weight: of a lane's own keys.
struct RowSum {
  float top = -INFINITY, weight = 0;

  /// scores become exp(score - top), where scale makes them ones of 2. Returns what earlier ones and their sums are to be multiplied with.
  __device__ __forceinline__ float take(SumTile (&scores)[tile_pieces][2], int h, float scale) {
    float largest = top;
    each_score(scores, h, [&](float score, int, int) { largest = fmaxf(largest, score); });
    largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 2));
    const float base = largest == -INFINITY ? 0.0f : largest * scale, factor = exp2_approx(top * scale - base);
    top = largest;
    weight *= factor;
    each_score(scores, h, [&](float& score, int, int) {
      score = exp2_approx(score * scale - base);
      weight += score;
    });
    return factor;
  }
  /// The weights of all keys.
  __device__ __forceinline__ void gather() {
    weight += __shfl_xor_sync(~0u, weight, 1);
    weight += __shfl_xor_sync(~0u, weight, 2);
  }
};

/// ctx_i = sum_j z_ij p_ij v_j with p_ij = exp(q_i k_j / sqrt(D) - lse_i) over the j that i sees.
template <int D>
__global__ void __launch_bounds__(block_threads, blocks_at_once<D>)
    forward_slabs(TextsView texts, AttentionInput<bf16> in, Kept kept, bf16* ctx, float* lse) {
  const LanePlace at;
  const int a = static_cast<int>(blockIdx.x % in.heads);
  const float scale = in.scale() * log2_e;
  each_slab(texts, warp_number(in.heads), [&](const Slab& slab) {
    const int rows[2] = {slab.row(at.r), slab.row(at.r + 8)};
    const bf16 *const keys = in.key(slab.begin, a), *const values = in.value(slab.begin, a);
    const int stride = static_cast<int>(in.kv_stride);
    LeftTile query[D / 16];
    load_left<D>(in.query(slab.begin + rows[0], a), in.query(slab.begin + rows[1], a), at, query);
    SumTile sums[D / 8]{};
    RowSum softmax[2];
    float factor[2];
#pragma unroll 1
    for (int first = 0; first < slab.length; first += tile_keys) {
      SumTile scores[tile_pieces][2]{};
#pragma unroll
      for (int p = 0; p < tile_pieces; ++p)
        if (first + 16 * p < slab.length)
#pragma unroll
          for (int u = 0; u < 2; ++u)
            multiply_rows<D>(scores[p][u], query, keys + slab.of_text(first + 16 * p + 8 * u + at.r) * stride, at);
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        if (in.bits != nullptr || slab.length - first < tile_keys) {
          const uint64_t hidden = hidden_keys<tile_keys>(in, slab, rows[h], first) >> (2 * at.q);
          each_score(scores, h, [&](float& score, int p, int e) {
            if ((hidden >> (16 * p + e / 2 * 8 + e % 2) & 1) != 0) score = -INFINITY;
          });
        }
        factor[h] = softmax[h].take(scores, h, scale);
        if (kept.bytes != nullptr) {
          const uint32_t bits = kept_columns(kept, slab.begin + rows[h], a, first, at);
          each_score(scores, h, [&](float& score, int p, int e) {
            if ((bits >> (8 * e + p) & 1) == 0) score = 0;
          });
        }
      }
      scale_rows<D>(sums, factor);
#pragma unroll
      for (int p = 0; p < tile_pieces; ++p)
        if (first + 16 * p < slab.length)
          add_rows<D>(
              sums, as_left(scores[p]), [&](int k) { return values + slab.of_text(first + 16 * p + k) * stride; }, at);
    }
    bf16* out[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      softmax[h].gather();
      const bool blind = softmax[h].top == -INFINITY, has = slab.has(at.r + 8 * h);
      const int64_t place = (slab.begin + rows[h]) * in.heads + a;
      factor[h] = blind ? 0.0f : kept.factor / softmax[h].weight;
      out[h] = has ? ctx + place * D : nullptr;
      if (at.q == 0 && has) lse[place] = blind ? 0.0f : (softmax[h].top * scale + log2f(softmax[h].weight)) * ln_2;
    }
    store_sums<D>(sums, factor[0], factor[1], out[0], out[1], at);
  });
}

/// dq_i = sum_j ds_ij k_j / sqrt(D) with ds_ij = p_ij (z_ij d_ctx_i v_j - delta_i), and lse_i log2(e) and delta_i = d_ctx_i ctx_i for the
/// keys' kernel.
template <int D>
__global__ void __launch_bounds__(block_threads, blocks_at_once<D>)
    query_slabs(TextsView texts, AttentionInput<bf16> in, Kept kept, AttentionOutput<bf16> known, float2* lse_delta, int64_t out_stride,
                bf16* dq) {
  const LanePlace at;
  const int a = static_cast<int>(blockIdx.x % in.heads);
  const float scale = in.scale();
  each_slab(texts, warp_number(in.heads), [&](const Slab& slab) {
    const int rows[2] = {slab.row(at.r), slab.row(at.r + 8)};
    const bf16 *const keys = in.key(slab.begin, a), *const values = in.value(slab.begin, a);
    const int stride = static_cast<int>(in.kv_stride);
    const int64_t place[2] = {(slab.begin + rows[0]) * in.heads + a, (slab.begin + rows[1]) * in.heads + a};
    LeftTile query[D / 16], d_ctx[D / 16];
    float delta[2], lse[2];
    load_left<D>(known.ctx + place[0] * D, known.ctx + place[1] * D, at, query);
    load_left<D>(known.d_ctx + place[0] * D, known.d_ctx + place[1] * D, at, d_ctx);
    row_products<D>(query, d_ctx, delta[0], delta[1]);
    load_left<D>(in.query(slab.begin + rows[0], a), in.query(slab.begin + rows[1], a), at, query);
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      lse[h] = known.lse[place[h]] * log2_e;
      if (at.q == 0 && slab.has(at.r + 8 * h)) lse_delta[place[h]] = make_float2(lse[h], delta[h]);
    }
    SumTile sums[D / 8]{};
#pragma unroll 1
    for (int first = 0; first < slab.length; first += 16) {
      SumTile scores[2]{}, d_weights[2]{};
#pragma unroll
      for (int u = 0; u < 2; ++u) {
        const int row = slab.of_text(first + 8 * u + at.r) * stride;
        multiply_rows<D>(scores[u], query, keys + row, at);
        multiply_rows<D>(d_weights[u], d_ctx, values + row, at);
      }
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const auto each_of_row = [&](const auto& f) {  // f(score, gradient of its weight, place in kept_columns())
#pragma unroll
          for (int e = 0; e < 4; ++e) f(scores[e / 2].at[2 * h + e % 2], d_weights[e / 2].at[2 * h + e % 2], e);
        };
        if (kept.bytes != nullptr) {
          const uint32_t bits = kept_columns(kept, slab.begin + rows[h], a, first, at);
          each_of_row([&](float, float& back, int e) { back = (bits >> (8 * e) & 1) != 0 ? back * kept.factor : 0.0f; });
        }
        each_of_row([&](float& score, float back, int) { score = exp2_approx(score * (scale * log2_e) - lse[h]) * (back - delta[h]); });
        if (in.bits != nullptr || slab.length - first < 16) {
          const auto hidden = static_cast<uint32_t>(hidden_keys<16>(in, slab, rows[h], first)) >> (2 * at.q);
          each_of_row([&](float& score, float, int e) {
            if ((hidden >> (e / 2 * 8 + e % 2) & 1) != 0) score = 0;
          });
        }
      }
      add_rows<D>(
          sums, as_left(scores), [&](int k) { return keys + slab.of_text(first + k) * stride; }, at);
    }
    const auto out = [&](int h) { return slab.has(at.r + 8 * h) ? dq + (slab.begin + rows[h]) * out_stride + a * D : nullptr; };
    store_sums<D>(sums, scale, scale, out(0), out(1), at);
  });
}

/// Of the slab's keys at rows r and r + 8, and of the queries at columns 2q, 2q+1, 2q+8, 2q+9 of the 16 from `first` on, which do not see
/// them: bit 2 e + h is of the e-th of those queries and key r + 8 h.
__device__ __forceinline__ uint32_t hidden_of_queries(const AttentionInput<bf16>& in, const Slab& slab, int first, LanePlace at) {
  uint32_t bits = 0;
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    const int i = first + e / 2 * 8 + 2 * at.q + e % 2;
    const uint64_t hidden = i < slab.length ? hidden_keys<16>(in, slab, i, slab.first) >> at.r : ~uint64_t{0};
    bits |= static_cast<uint32_t>((hidden & 1) | (hidden >> 7 & 2)) << (2 * e);
  }
  return bits;
}

/// The same of what dropout keeps.
__device__ __forceinline__ uint32_t kept_of_queries(const Kept& kept, int64_t a, const Slab& slab, int first, LanePlace at) {
  const uint8_t* const of_text = kept.of(slab.begin, a, slab.first) + at.r;
  uint32_t bits = 0;
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    const uint8_t* const of_row = of_text + slab.of_text(first + e / 2 * 8 + 2 * at.q + e % 2) * kept.stride();
    const uint32_t both = static_cast<uint32_t>(of_row[0] | of_row[8] << 8) >> (slab.first % group_keys / 16);
    bits |= ((both & 1) | (both >> 7 & 2)) << (2 * e);
  }
  return bits;
}

/// dv_j = sum_i z_ij p_ij d_ctx_i;  dk_j = sum_i ds_ij q_i / sqrt(D): one of them or both. A slab is of keys, and scores stand with a key a
/// row.
template <int D, bool for_keys, bool for_values>
__global__ void __launch_bounds__(block_threads, D == 32 ? 3 : 2)
    key_slabs(TextsView texts, AttentionInput<bf16> in, Kept kept, const bf16* d_ctx, const float2* lse_delta, int64_t out_stride, bf16* dk,
              bf16* dv) {
  const LanePlace at;
  const int a = static_cast<int>(blockIdx.x % in.heads);
  const float scale = in.scale();
  each_slab(texts, warp_number(in.heads), [&](const Slab& slab) {
    const int rows[2] = {slab.row(at.r), slab.row(at.r + 8)};
    const int64_t place = slab.begin * in.heads + a;
    const bf16 *const queries = in.query(slab.begin, a), *const d_ctx_of = d_ctx + place * D;
    LeftTile key[D / 16], value[D / 16];
    load_left<D>(in.key(slab.begin + rows[0], a), in.key(slab.begin + rows[1], a), at, key);
    if (for_keys) load_left<D>(in.value(slab.begin + rows[0], a), in.value(slab.begin + rows[1], a), at, value);
    SumTile to_key[D / 8]{}, to_value[D / 8]{};
#pragma unroll 1
    for (int first = 0; first < slab.length; first += 16) {
      const auto query_row = [&](int i) { return queries + slab.of_text(first + i) * static_cast<int>(in.q_stride); };
      const auto d_ctx_row = [&](int i) { return d_ctx_of + slab.of_text(first + i) * static_cast<int>(in.heads * D); };
      SumTile scores[2]{}, weights[2]{};
#pragma unroll
      for (int u = 0; u < 2; ++u) {
        multiply_rows<D>(scores[u], key, query_row(8 * u + at.r), at);
        if (for_keys) multiply_rows<D>(weights[u], value, d_ctx_row(8 * u + at.r), at);
      }
      const uint32_t hidden = in.bits != nullptr || slab.length - first < 16 ? hidden_of_queries(in, slab, first, at) : 0;
      const uint32_t kept_of = kept.bytes != nullptr ? kept_of_queries(kept, a, slab, first, at) : ~0u;
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int row = slab.of_text(first + e / 2 * 8 + 2 * at.q + e % 2);
        const float2 known = lse_delta[place + row * static_cast<int>(in.heads)];
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          float &score = scores[e / 2].at[2 * h + e % 2], &weight = weights[e / 2].at[2 * h + e % 2];
          const bool hides = (hidden >> (2 * e + h) & 1) != 0, keeps = (kept_of >> (2 * e + h) & 1) != 0;
          const float p = hides ? 0.0f : exp2_approx(score * (scale * log2_e) - known.x);
          score = hides ? 0.0f : p * ((keeps ? weight * kept.factor : 0.0f) - known.y);
          weight = keeps ? p : 0.0f;
        }
      }
      if (for_values) add_rows<D>(to_value, as_left(weights), d_ctx_row, at);
      if (for_keys) add_rows<D>(to_key, as_left(scores), query_row, at);
    }
    const auto out = [&](bf16* gradient, int h) {
      return slab.has(at.r + 8 * h) ? gradient + (slab.begin + rows[h]) * out_stride + a * D : nullptr;
    };
    if (for_keys) store_sums<D>(to_key, scale, scale, out(dk, 0), out(dk, 1), at);
    if (for_values) store_sums<D>(to_value, kept.factor, kept.factor, out(dv, 0), out(dv, 1), at);
  });
}

int64_t groups_of(const DeviceTexts& texts) { return blocks_of(texts.longest, group_keys); }
/// Bytes of float2 [S,A].
size_t rows_bytes(const DeviceTexts& texts, int64_t heads) { return static_cast<size_t>(texts.tokens() * heads) * sizeof(float2); }

/// Enqueues what fills `bytes`, where anything is dropped.
Kept keep(cudaStream_t stream, const DeviceTexts& texts, int64_t heads, const DropoutMask& mask, std::byte* scratch) {
  if (mask.threshold == 0) return {};
  auto* const bytes = reinterpret_cast<uint8_t*>(scratch);
  const int64_t groups = groups_of(texts);
  launch(keep_bytes, blocks_of(texts.tokens() * heads * groups * 4, block_threads), block_threads, 0, stream, TextsView(texts), mask, heads,
         groups, bytes);
  return {bytes, heads, groups, static_cast<float>(mask.keep)};
}

/// Calls body(std::integral_constant<int, D>{}).
template <class Body>
void for_size(int64_t size, const Body& body) {
  if (size == 32) return body(std::integral_constant<int, 32>{});
  if (size == 64) return body(std::integral_constant<int, 64>{});
  body(std::integral_constant<int, 128>{});
}

}  // namespace

bool flash_takes(const DeviceTexts& texts, const AttentionInput<bf16>& in, std::initializer_list<const void*> others) {
  const bool known = in.size == 32 || in.size == 64 || in.size == 128;
  const bool counts_in_int = texts.longest * std::max({in.q_stride, in.kv_stride, in.heads * in.size}) <= std::numeric_limits<int>::max();
  return known && counts_in_int && in.q_stride % 8 == 0 && in.kv_stride % 8 == 0 && aligned_16({in.q, in.k, in.v}) && aligned_16(others);
}

size_t flash_forward_scratch(const DeviceTexts& texts, int64_t heads, const DropoutMask& mask) {
  return mask.threshold == 0 ? 0 : static_cast<size_t>(texts.tokens() * heads * groups_of(texts) * 16);
}

size_t flash_backward_scratch(const DeviceTexts& texts, int64_t heads, const DropoutMask& mask) {
  return rows_bytes(texts, heads) + flash_forward_scratch(texts, heads, mask);
}

void flash_forward(cudaStream_t stream, const DeviceTexts& texts, const AttentionInput<bf16>& in, const DropoutMask& mask,
                   std::byte* scratch, bf16* ctx, float* lse) {
  const Kept kept = keep(stream, texts, in.heads, mask, scratch);
  for_size(in.size, [&]<int D>(std::integral_constant<int, D>) {
    launch(forward_slabs<D>, blocks_of(texts.tokens(), block_tokens) * in.heads, block_threads, 0, stream, TextsView(texts), in, kept, ctx,
           lse);
  });
}

void flash_backward(cudaStream_t stream, const DeviceTexts& texts, const AttentionInput<bf16>& in, const DropoutMask& mask,
                    const AttentionOutput<bf16>& known, std::byte* scratch, const AttentionGradients<bf16>& out) {
  auto* const lse_delta = reinterpret_cast<float2*>(scratch);
  const Kept kept = keep(stream, texts, in.heads, mask, scratch + rows_bytes(texts, in.heads));
  const int64_t blocks = blocks_of(texts.tokens(), block_tokens) * in.heads;
  for_size(in.size, [&]<int D>(std::integral_constant<int, D>) {
    launch(query_slabs<D>, blocks, block_threads, 0, stream, TextsView(texts), in, kept, known, lse_delta, out.q_stride, out.q);
    const auto of_keys = [&](auto kernel) {
      launch(kernel, blocks, block_threads, 0, stream, TextsView(texts), in, kept, known.d_ctx, lse_delta, out.kv_stride, out.k, out.v);
    };
    if constexpr (D < 128) {
      of_keys(key_slabs<D, true, true>);
    } else {  // there are not registers enough for both sums
      of_keys(key_slabs<D, true, false>);
      of_keys(key_slabs<D, false, true>);
    }
  });
}

}  // namespace lodestone::cuda
