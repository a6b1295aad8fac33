// Sums over the rows of matrices, column by column, always in one order: in tiles of rows, then over the tiles. Bytes: the matrices once,
// and for each tile a row of each sum written and read.
#pragma once

#include "core/cuda/device/rows.h"

namespace lodestone::cuda {

constexpr int column_threads = 128;                            // of a block
constexpr int column_lanes = 16;                               // those that lie side by side along a row
constexpr int column_strands = column_threads / column_lanes;  // each has every so many-th row
constexpr int64_t rows_of_a_tile = 64;
inline int64_t tiles_of(int64_t rows) { return blocks_of(rows, rows_of_a_tile); }

/// put(o, j, total) for the column_lanes N columns j from `first` as far as there are some, total being the sum over the rows i from
/// `begin` to `end` of f(i, x[i, j]...), of its o-th number where it gives several. A strand adds its rows in their order, then the strands
/// are added in theirs: equal bits for every N.
template <int N, int O, class W, class F, class Put, class... X>
__device__ __forceinline__ void sum_rows(int64_t begin, int64_t end, int64_t first, int64_t columns, const F& f, const Put& put,
                                         const X*... x) {
  __shared__ Several<W, N> parts[O][column_strands][column_lanes];
  const int lane = static_cast<int>(threadIdx.x) % column_lanes, strand = static_cast<int>(threadIdx.x) / column_lanes;
  const int64_t j = first + lane * N;
  Several<W, N> sums[O]{};
  if (j < columns) {
#pragma unroll 4  // loads that are under way at once
    for (int64_t i = begin + strand; i < end; i += column_strands)
      [&](const auto&... v) {
#pragma unroll
        for (int k = 0; k < N; ++k) {
          const auto terms = f(i, to_wide(v.at[k])...);
          if constexpr (O == 1) {
            sums[0].at[k] += terms;
          } else {
#pragma unroll
            for (int o = 0; o < O; ++o) sums[o].at[k] += terms.at[o];
          }
        }
      }(load<N>(x + i * columns + j)...);
  }
#pragma unroll
  for (int o = 0; o < O; ++o) parts[o][strand][lane] = sums[o];
  __syncthreads();
  const int c = static_cast<int>(threadIdx.x);
  static_assert(column_lanes * N <= column_threads);
  if (c >= column_lanes * N || first + c >= columns) return;
#pragma unroll
  for (int o = 0; o < O; ++o) {
    W total = 0;
    for (int s = 0; s < column_strands; ++s) total += parts[o][s][c / N].at[c % N];
    put(o, first + c, total);
  }
}

/// part[tile, o, j] = the sum over the tile's rows i of f(i, x[i, j]...). A block has column_lanes N columns of one tile.
template <int N, int O, class F, class W, class... X>
__global__ void __launch_bounds__(column_threads) sum_tile(int64_t rows, int64_t columns, F f, W* part, const X*... x) {
  const int64_t blocks_a_tile = (columns + column_lanes * N - 1) / (column_lanes * N), tile = blockIdx.x / blocks_a_tile;
  const int64_t begin = tile * rows_of_a_tile, end = begin + rows_of_a_tile < rows ? begin + rows_of_a_tile : rows;
  sum_rows<N, O, W>(
      begin, end, blockIdx.x % blocks_a_tile * column_lanes * N, columns, f,
      [&](int o, int64_t j, W total) { part[(tile * O + o) * columns + j] = total; }, x...);
}

/// The elements of one matrix as they are.
struct Unchanged {
  template <class W>
  __device__ W operator()(int64_t /*row*/, W x) const {
    return x;
  }
};

/// Where sums go: the o-th number's, [columns] each.
template <class W, int O>
struct ColumnSums {
  W* at[O];

  /// at[o], without an address of `at`, which would need local memory.
  __device__ __forceinline__ W* of(int64_t o) const {
    W* chosen = at[0];
#pragma unroll
    for (int k = 1; k < O; ++k)
      if (o == k) chosen = at[k];
    return chosen;
  }
};

/// sums.at[o][j] += the sum of part [tiles, O, columns] over the tiles.
template <int N, class W, int O>
__global__ void __launch_bounds__(column_threads) add_tiles(int64_t tiles, int64_t columns, const W* part, ColumnSums<W, O> sums) {
  sum_rows<N, 1, W>(
      0, tiles, static_cast<int64_t>(blockIdx.x) * column_lanes * N, O * columns, Unchanged{},
      [&](int, int64_t j, W total) { sums.of(j / columns)[j % columns] += total; }, part);
}

/// Numbers of part for add_columns().
template <int O>
int64_t column_parts(int64_t rows, int64_t columns) {
  return tiles_of(rows) * O * columns;
}

/// Enqueues sums.at[o][j] += sum over i of f(i, x[i, j]...), for matrices x [rows, columns] whose elements f gets in their wide dtype W; f
/// gives a W, or Several<W, O>. part [column_parts<O>(rows, columns)] is overwritten.
template <int O, class W, class F, class... X>
void add_columns(cudaStream_t stream, int64_t rows, int64_t columns, F f, W* part, ColumnSums<W, O> sums, const X*... x) {
  const int64_t tiles = tiles_of(rows);
  for_row_width<X...>(columns, aligned_16({x...}), [&](auto n) {
    constexpr int N = decltype(n)::value;
    launch(sum_tile<N, O, F, W, X...>, tiles * blocks_of(columns, column_lanes * N), column_threads, 0, stream, rows, columns, f, part,
           x...);
  });
  if (tiles == 0) return;
  for_row_width<W>(columns, aligned_16({part}), [&](auto n) {
    constexpr int N = decltype(n)::value;
    launch(add_tiles<N, W, O>, blocks_of(O * columns, column_lanes * N), column_threads, 0, stream, tiles, columns, part, sums);
  });
}

}  // namespace lodestone::cuda
