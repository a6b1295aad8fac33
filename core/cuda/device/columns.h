// Sums over the rows of a matrix, column by column, always in one order: in tiles of rows, then over the tiles.
#pragma once

#include "core/cuda/device/values.h"

namespace lodestone::cuda {

constexpr int column_threads = 128;     // columns of a block
constexpr int64_t rows_of_a_tile = 64;  // rows that one thread adds up
inline int64_t tiles_of(int64_t rows) { return blocks_of(rows, rows_of_a_tile); }

/// part[tile, j] = the sum over the tile's rows i of f(i, j), for `columns` columns. A block has column_threads of them of one tile.
template <class W, class F>
__global__ void __launch_bounds__(column_threads) sum_tile(int64_t rows, int64_t columns, F f, W* part) {
  const int64_t blocks_a_tile = (columns + column_threads - 1) / column_threads;
  const int64_t tile = blockIdx.x / blocks_a_tile, j = blockIdx.x % blocks_a_tile * column_threads + threadIdx.x;
  if (j >= columns) return;
  const int64_t begin = tile * rows_of_a_tile, end = begin + rows_of_a_tile < rows ? begin + rows_of_a_tile : rows;
  W sum = 0;
  for (int64_t i = begin; i < end; ++i) sum += f(i, j);
  part[tile * columns + j] = sum;
}

/// sums[j] += the sum of part over the tiles.
template <class W>
__global__ void __launch_bounds__(column_threads) add_tiles(int64_t tiles, int64_t columns, const W* part, W* sums) {
  const int64_t j = static_cast<int64_t>(blockIdx.x) * column_threads + threadIdx.x;
  if (j >= columns) return;
  W sum = 0;
  for (int64_t t = 0; t < tiles; ++t) sum += part[t * columns + j];
  sums[j] += sum;
}

/// Enqueues sums[j] += sum over i of f(i, j). part [tiles_of(rows), columns] is overwritten.
template <class W, class F>
void add_columns(cudaStream_t stream, int64_t rows, int64_t columns, F f, W* part, W* sums) {
  const int64_t tiles = tiles_of(rows);
  if (tiles == 0) return;
  launch(sum_tile<W, F>, tiles * blocks_of(columns, column_threads), column_threads, 0, stream, rows, columns, f, part);
  launch(add_tiles<W>, blocks_of(columns, column_threads), column_threads, 0, stream, tiles, columns, part, sums);
}

}  // namespace lodestone::cuda
