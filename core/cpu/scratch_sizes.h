// How many elements of scratch memory operations of the fast CPU backend take: for the operations, and for the model of them.
#pragma once

#include <cstdint>

namespace lodestone::scratch_sizes {

constexpr int64_t norm_block_rows = 64;  // rows whose parameter gradients are summed together, whatever the number of threads
constexpr int64_t norm_blocks(int64_t rows) { return (rows + norm_block_rows - 1) / norm_block_rows; }
/// Floats: shares of d_gamma and d_beta of every block.
constexpr int64_t norm_partials(int64_t rows, int64_t columns) { return norm_blocks(rows) * 2 * columns; }

constexpr int64_t square_block = 1 << 16;  // elements whose squares are summed together, whatever the number of threads
/// Doubles: the sum of every block.
constexpr int64_t square_partials(int64_t count) { return (count + square_block - 1) / square_block; }

}  // namespace lodestone::scratch_sizes
