// Vector bodies: attention of one head over one text, forward and backward.
#include "core/cpu/vector/kernels.h"
#include "core/cpu/vector/random.h"

// A head is copied into packed f32 matrices (keys and values also transposed), padded with zeros to whole tiles. Query
// rows then go through in blocks: scores, softmax and dropout, context. All products use one register tile.
namespace lodestone::LODE_VEC {

namespace {

inline constexpr int64_t tile_columns = 2 * lanes;
inline constexpr int64_t tile_rows = lanes == 16 ? 12 : 6;  // 12 or 24 accumulators of the 16 or 32 registers
inline constexpr int64_t most_rows = tile_rows * 2 / 3;     // a smaller tile that still keeps the multipliers busy
inline constexpr int64_t block_rows = 64;                   // query rows that go through together

LODE_INLINE int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

/// A matrix [rows, columns] whose element (i, k) stands at data[i * row + k * step].
struct Strided {
  const float* data;
  int64_t row, step;
};
/// A row-major matrix whose rows are `row` floats apart.
struct Packed {
  float* data;
  int64_t row;
};

enum class Into { set, add };

/// c[0..rows, 0..tile_columns] = or += a b, with `rows` known to the compiler so that the sums stay in registers.
template <int64_t rows, Into into>
LODE_INLINE void tile(int64_t depth, Strided a, const float* b, int64_t b_row, float* c, int64_t c_row) {
  vf sums[rows][2];
#pragma GCC unroll 12
  for (int64_t i = 0; i < rows; ++i) {
    sums[i][0] = into == Into::add ? load(c + i * c_row) : vf{};
    sums[i][1] = into == Into::add ? load(c + i * c_row + lanes) : vf{};
  }
  for (int64_t k = 0; k < depth; ++k) {
    const vf left = load(b + k * b_row), right = load(b + k * b_row + lanes);
#pragma GCC unroll 12
    for (int64_t i = 0; i < rows; ++i) {
      const vf x = splat(a.data[i * a.row + k * a.step]);
      sums[i][0] += x * left;
      sums[i][1] += x * right;
    }
  }
#pragma GCC unroll 12
  for (int64_t i = 0; i < rows; ++i) {
    store(c + i * c_row, sums[i][0]);
    store(c + i * c_row + lanes, sums[i][1]);
  }
}

/// The same for `rows` < limit.
template <int64_t limit, Into into>
LODE_INLINE void last_tile(int64_t rows, int64_t depth, Strided a, const float* b, int64_t b_row, float* c, int64_t c_row) {
  if constexpr (limit > 1) {
    if (rows == limit - 1)
      tile<limit - 1, into>(depth, a, b, b_row, c, c_row);
    else
      last_tile<limit - 1, into>(rows, depth, a, b, b_row, c, c_row);
  }
}

/// c [m, n] = or += a [m, depth] b [depth, n], n a multiple of tile_columns.
template <Into into>
void product(int64_t m, int64_t n, int64_t depth, Strided a, Packed b, Packed c) {
  for (int64_t j = 0; j < n; j += tile_columns) {
    const auto at = [&](int64_t i) { return Strided{a.data + i * a.row, a.row, a.step}; };
    int64_t i = 0;
    for (; m - i >= tile_rows + most_rows; i += tile_rows)
      tile<tile_rows, into>(depth, at(i), b.data + j, b.row, c.data + i * c.row + j, c.row);
    if (m - i > tile_rows) {  // the rest in two parts of similar height, as a low tile leaves the multipliers idle
      tile<most_rows, into>(depth, at(i), b.data + j, b.row, c.data + i * c.row + j, c.row);
      i += most_rows;
    }
    last_tile<tile_rows + 1, into>(m - i, depth, at(i), b.data + j, b.row, c.data + i * c.row + j, c.row);
  }
}

/// to [rows, row] = from, zero beyond `columns`.
template <class T>
void pack(const T* from, int64_t stride, int64_t rows, int64_t columns, Packed to) {
  for (int64_t t = 0; t < rows; ++t) {
    float* out = to.data + t * to.row;
    sweep(0, columns, [&](int64_t i, auto access) { store(out + i, load(from + t * stride + i, access), access); });
    for (int64_t i = columns; i < to.row; ++i) out[i] = 0;
  }
}

/// to [columns, row] = weight * from^T for a packed matrix, zero beyond `rows`.
void transpose(Packed from, int64_t rows, int64_t columns, float weight, Packed to) {
  for (int64_t t = 0; t < to.row; t += lanes) {
    const int64_t rest = rows - t, count = rest < 0 ? 0 : (rest < lanes ? rest : lanes);
    const float* in = from.data + t * from.row;
    for (int64_t i = 0; i < columns; ++i) {
      vf v{};
      if (count == lanes)
        for (int64_t j = 0; j < lanes; ++j) v[j] = in[j * from.row + i];
      else
        for (int64_t j = 0; j < count; ++j) v[j] = in[j * from.row + i];
      store(to.data + i * to.row + t, v * weight);
    }
  }
}

/// Asks for one row of the head that follows in memory. Rows of a head are too far apart for the processor to foresee, so
/// each query row fetches its share of the next head while this one is computed.
template <class T>
LODE_INLINE void prefetch_next(const T* matrix, int64_t stride, int64_t row, int64_t size) {
  const T* next = matrix + row * stride + size;
  for (int64_t i = 0; i < size; i += 64 / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(next + i);
}

/// Writes the dropout factors of one query row for keys [0, length).
template <class T>
LODE_INLINE void row_factors(const AttentionHead<T>& h, int64_t query, float* factors) {
  for (int64_t first = 0; first < h.length; first += mask_group)
    draw_factors(h.key, h.text, h.head << 16 | static_cast<uint32_t>(query), static_cast<uint32_t>(first / mask_group), h.threshold, h.keep,
                 h.length - first, factors + first);
}

/// Whether rows have masks.
enum class Sight { all, masked };

/// Writes 1 for each of the keys [0, count) that a query row sees and 0 for the others; says whether it sees any. `seen` has whole
/// vectors.
template <class T>
LODE_INLINE bool row_sight(const AttentionHead<T>& h, int64_t query, int64_t count, float* seen) {
  const uint64_t* words = h.mask_bits + h.mask_words * h.mask_of_row[query];
  for (int64_t j = 0; j < h.length; ++j) seen[j] = static_cast<float>(1 - (words[j / 64] >> (j % 64) & 1));
  for (int64_t j = h.length; j < count; ++j) seen[j] = 0;
  seen[query] = 0;
  vf total{};
  for (int64_t j = 0; j < count; j += lanes) total += load(seen + j);
  return sum_of(total) > 0.0f;
}

/// The sum of exp(score - top) of a row, and top, its largest score.
struct Softmax {
  float top, sum;
};

/// Scores of one row become exp(score - top) times dropout factors; the caller divides by the sum. Rows are padded to
/// whole tiles, so the last vector may be stored in full.
template <class T>
LODE_INLINE Softmax softmax_row(const AttentionHead<T>& h, int64_t query, float* score, float* factors) {
  const int64_t n = h.length;
  vf tops = splat(-__builtin_inff());
  int64_t j = 0;
  for (; j + lanes <= n; j += lanes) tops = larger(load(score + j), tops);
  float top = max_of(tops);
  for (; j < n; ++j) top = score[j] > top ? score[j] : top;
  vf total{};
  if (h.threshold == 0) {
    sweep(0, n, [&](int64_t i, auto access) {
      const vf e = exponential_below_88(load(score + i, access) - top);
      store(score + i, e);
      total += within(e, access);
    });
  } else {
    row_factors(h, query, factors);
    sweep(0, n, [&](int64_t i, auto access) {
      const vf e = exponential_below_88(load(score + i, access) - top);
      store(score + i, e * load(factors + i));
      total += within(e, access);
    });
  }
  return {top, sum_of(total)};
}

/// The same over the keys that the row sees; the others get 0. `keys` is their number rounded up to whole tiles. Where the row sees
/// nothing, its log-sum is 0.
template <class T>
LODE_INLINE Softmax masked_softmax_row(const AttentionHead<T>& h, int64_t query, int64_t keys, float* score, float* factors, float* seen) {
  if (!row_sight(h, query, keys, seen)) {
    for (int64_t j = 0; j < keys; ++j) score[j] = 0;
    return {0, 1};
  }
  vf tops = splat(-__builtin_inff());
  for (int64_t j = 0; j < keys; j += lanes) tops = larger(load(seen + j) > 0.0f ? load(score + j) : splat(-__builtin_inff()), tops);
  const float top = max_of(tops);
  if (h.threshold != 0) row_factors(h, query, factors);
  vf total{};
  for (int64_t j = 0; j < keys; j += lanes) {
    const vf e = load(seen + j) > 0.0f ? exponential_below_88(load(score + j) - top) : vf{};
    store(score + j, h.threshold == 0 ? e : e * load(factors + j));
    total += e;
  }
  return {top, sum_of(total)};
}

/// The parts of one head's scratch memory, in floats.
struct Layout {
  int64_t keys, width;                           // T and D rounded up to whole tiles
  int64_t by_token, by_feature, block, factors;  // sizes of one part of each kind
  Layout(int64_t length, int64_t size)
      : keys(round_up(length, tile_columns)),
        width(round_up(size, tile_columns)),
        by_token(round_up(length, tile_rows) * width),
        by_feature(size * keys),
        block(block_rows * keys),
        factors(round_up(keys, mask_group)) {}
};

}  // namespace

int64_t attention_scratch(int64_t length, int64_t size) {
  const Layout l(length, size);
  return 6 * l.by_token + 2 * l.by_feature + 2 * l.block + l.factors + l.keys + block_rows * (l.width + 1);
}

namespace {

template <Sight sight, class T>
void forward_of(const AttentionHead<T>& h) {
  const Layout l(h.length, h.size);
  float* free = h.scratch;
  const auto take = [&](int64_t count, int64_t row) { return Packed{(free += count) - count, row}; };
  const Packed q = take(l.by_token, l.width), k = take(l.by_token, l.width), v = take(l.by_token, l.width);
  const Packed k_transposed = take(l.by_feature, l.keys), inverse = take(block_rows, 0);
  const Packed p = take(l.block, l.keys), c = take(block_rows * l.width, l.width), factors = take(l.factors, 0);
  const Packed seen = take(l.keys, 0);
  pack(h.q, h.q_stride, h.length, h.size, q);
  pack(h.k, h.kv_stride, h.length, h.size, k);
  pack(h.v, h.kv_stride, h.length, h.size, v);
  transpose(k, h.length, h.size, h.scale, k_transposed);
  for (int64_t first = 0; first < h.length; first += block_rows) {
    const int64_t rest = h.length - first, rows = rest < block_rows ? rest : block_rows;
    product<Into::set>(rows, l.keys, h.size, {q.data + first * q.row, q.row, 1}, k_transposed, p);
    for (int64_t i = 0; i < rows; ++i) {
      float* score = p.data + i * p.row;
      const Softmax row = sight == Sight::all ? softmax_row(h, first + i, score, factors.data)
                                              : masked_softmax_row(h, first + i, l.keys, score, factors.data, seen.data);
      h.lse[(first + i) * h.lse_stride] = row.top + __builtin_logf(row.sum);
      inverse.data[i] = 1.0f / row.sum;
      prefetch_next(h.q, h.q_stride, first + i, h.size);
      prefetch_next(h.k, h.kv_stride, first + i, h.size);
      prefetch_next(h.v, h.kv_stride, first + i, h.size);
    }
    product<Into::set>(rows, l.width, h.length, {p.data, p.row, 1}, v, c);
    for (int64_t i = 0; i < rows; ++i) {
      T* out = h.ctx + (first + i) * h.ctx_stride;
      sweep(0, h.size, [&](int64_t d, auto access) { store(out + d, load(c.data + i * c.row + d) * inverse.data[i], access); });
    }
  }
}

// With probabilities p, factors z, g = d_ctx v^T and delta = d_ctx . ctx per row:
// ds = p (z g - delta) / sqrt(D);  dq = ds k;  dk = ds^T q;  dv = (z p)^T d_ctx.
template <Sight sight, class T>
void backward_of(const AttentionHead<T>& h) {
  const Layout l(h.length, h.size);
  float* free = h.scratch;
  const auto take = [&](int64_t count, int64_t row) { return Packed{(free += count) - count, row}; };
  const Packed q = take(l.by_token, l.width), k = take(l.by_token, l.width), v = take(l.by_token, l.width), dc = take(l.by_token, l.width);
  const Packed dk = take(l.by_token, l.width), dv = take(l.by_token, l.width);
  const Packed k_transposed = take(l.by_feature, l.keys), v_transposed = take(l.by_feature, l.keys);
  const Packed p = take(l.block, l.keys), g = take(l.block, l.keys), dq = take(block_rows * l.width, l.width), factors = take(l.factors, 0);
  const Packed seen = take(l.keys, 0);
  pack(h.q, h.q_stride, h.length, h.size, q);
  pack(h.k, h.kv_stride, h.length, h.size, k);
  pack(h.v, h.kv_stride, h.length, h.size, v);
  pack(h.d_ctx, h.ctx_stride, h.length, h.size, dc);
  transpose(k, h.length, h.size, h.scale, k_transposed);
  transpose(v, h.length, h.size, 1.0f, v_transposed);
  for (int64_t i = 0; i < l.by_token; ++i) dk.data[i] = dv.data[i] = 0;
  if (h.threshold == 0)
    for (int64_t j = 0; j < l.factors; ++j) factors.data[j] = 1;
  for (int64_t first = 0; first < h.length; first += block_rows) {
    const int64_t rest = h.length - first, rows = rest < block_rows ? rest : block_rows;
    const float *block_q = q.data + first * q.row, *block_dc = dc.data + first * dc.row;
    product<Into::set>(rows, l.keys, h.size, {block_q, q.row, 1}, k_transposed, p);
    product<Into::set>(rows, l.keys, h.size, {block_dc, dc.row, 1}, v_transposed, g);
    for (int64_t i = 0; i < rows; ++i) {
      vf along{};
      sweep(0, h.size, [&](int64_t d, auto access) {
        along += load(block_dc + i * dc.row + d, access) * load(h.saved_ctx + (first + i) * h.ctx_stride + d, access);
      });
      const float delta = sum_of(along), lse = h.saved_lse[(first + i) * h.lse_stride], scale = h.scale;
      if (h.threshold != 0) row_factors(h, first + i, factors.data);
      if constexpr (sight == Sight::masked) row_sight(h, first + i, l.keys, seen.data);
      prefetch_next(h.q, h.q_stride, first + i, h.size);
      prefetch_next(h.k, h.kv_stride, first + i, h.size);
      prefetch_next(h.v, h.kv_stride, first + i, h.size);
      prefetch_next(h.d_ctx, h.ctx_stride, first + i, h.size);
      prefetch_next(h.saved_ctx, h.ctx_stride, first + i, h.size);
      float *prob = p.data + i * p.row, *grad = g.data + i * g.row;
      sweep(0, h.length, [&](int64_t j, auto) {
        vf e = exponential_below_88(load(prob + j) - lse);
        if constexpr (sight == Sight::masked) e = load(seen.data + j) > 0.0f ? e : vf{};  // the scores of hidden keys may be anything
        const vf z = load(factors.data + j);
        store(grad + j, e * (z * load(grad + j) - delta) * scale);
        store(prob + j, e * z);
      });
    }
    product<Into::add>(h.length, l.width, rows, {p.data, 1, p.row}, {dc.data + first * dc.row, dc.row}, dv);
    product<Into::add>(h.length, l.width, rows, {g.data, 1, g.row}, {q.data + first * q.row, q.row}, dk);
    product<Into::set>(rows, l.width, h.length, {g.data, g.row, 1}, k, dq);
    for (int64_t i = 0; i < rows; ++i)
      sweep(0, h.size, [&](int64_t d, auto access) { store(h.dq + (first + i) * h.q_stride + d, load(dq.data + i * dq.row + d), access); });
  }
  for (int64_t t = 0; t < h.length; ++t)
    sweep(0, h.size, [&](int64_t d, auto access) {
      store(h.dk + t * h.kv_stride + d, load(dk.data + t * dk.row + d), access);
      store(h.dv + t * h.kv_stride + d, load(dv.data + t * dv.row + d), access);
    });
}

}  // namespace

template <class T>
void attention_forward(const AttentionHead<T>& h) {
  if (h.mask_bits == nullptr)
    forward_of<Sight::all>(h);
  else
    forward_of<Sight::masked>(h);
}

template <class T>
void attention_backward(const AttentionHead<T>& h) {
  if (h.mask_bits == nullptr)
    backward_of<Sight::all>(h);
  else
    backward_of<Sight::masked>(h);
}

template void attention_forward(const AttentionHead<float>&);
template void attention_forward(const AttentionHead<uint16_t>&);
template void attention_backward(const AttentionHead<float>&);
template void attention_backward(const AttentionHead<uint16_t>&);

}  // namespace lodestone::LODE_VEC
