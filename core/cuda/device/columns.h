// Sums over the rows of matrices, column by column, always in one order: in tiles of rows, then over the tiles. Bytes: the matrices once,
// and for each tile a row of sums written and read.
#pragma once

#include "core/cuda/device/rows.h"

namespace lodestone::cuda {

constexpr int column_threads = 128;                            // of a block
constexpr int column_lanes = 16;                               // those that lie side by side along a row
constexpr int column_strands = column_threads / column_lanes;  // each has every so many-th row
constexpr int64_t rows_of_a_tile = 64;
inline int64_t tiles_of(int64_t rows) { return blocks_of(rows, rows_of_a_tile); }

/// sums[j] = (Added ? sums[j] : 0) + the sum over the rows i from `begin` to `end` of f(i, x[i, j]...), for the column_lanes N columns j
/// from `first` as far as there are some. A strand adds its rows in their order, then the strands are added in theirs: equal bits for every
/// N.
template <int N, bool Added, class W, class F, class... X>
__device__ __forceinline__ void sum_rows(int64_t begin, int64_t end, int64_t first, int64_t columns, const F& f, W* sums, const X*... x) {
  __shared__ Several<W, N> parts[column_strands][column_lanes];
  const int lane = static_cast<int>(threadIdx.x) % column_lanes, strand = static_cast<int>(threadIdx.x) / column_lanes;
  const int64_t j = first + lane * N;
  Several<W, N> sum{};
  if (j < columns) {
#pragma unroll 4  // loads that are under way at once
    for (int64_t i = begin + strand; i < end; i += column_strands)
      [&](const auto&... v) {
#pragma unroll
        for (int k = 0; k < N; ++k) sum.at[k] += f(i, to_wide(v.at[k])...);
      }(load<N>(x + i * columns + j)...);
  }
  parts[strand][lane] = sum;
  __syncthreads();
  const int c = static_cast<int>(threadIdx.x);
  static_assert(column_lanes * N <= column_threads);
  if (c >= column_lanes * N || first + c >= columns) return;
  W total = 0;
  for (int s = 0; s < column_strands; ++s) total += parts[s][c / N].at[c % N];
  sums[first + c] = (Added ? sums[first + c] : W{0}) + total;
}

/// part[tile, j] = the sum over the tile's rows i of f(i, x[i, j]...). A block has column_lanes N columns of one tile.
template <int N, class F, class W, class... X>
__global__ void __launch_bounds__(column_threads) sum_tile(int64_t rows, int64_t columns, F f, W* part, const X*... x) {
  const int64_t blocks_a_tile = (columns + column_lanes * N - 1) / (column_lanes * N), tile = blockIdx.x / blocks_a_tile;
  const int64_t begin = tile * rows_of_a_tile, end = begin + rows_of_a_tile < rows ? begin + rows_of_a_tile : rows;
  sum_rows<N, false>(begin, end, blockIdx.x % blocks_a_tile * column_lanes * N, columns, f, part + tile * columns, x...);
}

/// The elements of one matrix as they are.
struct Unchanged {
  template <class W>
  __device__ W operator()(int64_t /*row*/, W x) const {
    return x;
  }
};

/// sums[j] += the sum of part over the tiles.
template <int N, class W>
__global__ void __launch_bounds__(column_threads) add_tiles(int64_t tiles, int64_t columns, const W* part, W* sums) {
  sum_rows<N, true>(0, tiles, static_cast<int64_t>(blockIdx.x) * column_lanes * N, columns, Unchanged{}, sums, part);
}

/// Enqueues sums[j] += sum over i of f(i, x[i, j]...), for matrices x [rows, columns] whose elements f gets in their wide dtype W.
/// part [tiles_of(rows), columns] is overwritten.
template <class W, class F, class X, class... More>
void add_columns(cudaStream_t stream, int64_t rows, int64_t columns, F f, W* part, W* sums, const X* x, const More*... more) {
  const int64_t tiles = tiles_of(rows);
  for_row_width<X, More...>(columns, aligned_16({x, more...}), [&](auto n) {
    constexpr int N = decltype(n)::value;
    launch(sum_tile<N, F, W, X, More...>, tiles * blocks_of(columns, column_lanes * N), column_threads, 0, stream, rows, columns, f, part,
           x, more...);
  });
  if (tiles == 0) return;
  for_row_width<W>(columns, aligned_16({part}), [&](auto n) {
    constexpr int N = decltype(n)::value;
    launch(add_tiles<N, W>, blocks_of(columns, column_lanes * N), column_threads, 0, stream, tiles, columns, part, sums);
  });
}

}  // namespace lodestone::cuda
