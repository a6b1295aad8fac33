#include "losses/score_block.h"

#include <algorithm>
#include <array>

#include "losses/loss.h"

namespace lodestone {

namespace {

constexpr int64_t least_tile_rows = 64;
constexpr size_t most_blocks = 4;

/// 4 MiB in f32: about what a core's share of the caches holds, so that softmax finds there what the product left. Products of at least 64
/// rows are large enough for a core.
constexpr int64_t host_tile_elements = int64_t{1} << 20;

/// What a tile costs a GPU is bytes and launches. With R rows and M columns of E numbers each tile reads the columns twice and their
/// gradient once and writes that, 12 M E bytes with operands in bf16 and 16 M E in f32, beside 30 bytes a score (written in f32, read twice
/// for the logarithm and again for the softmax, rounded, multiplied twice): so R should be a good part of E. At 65,536 columns 2^20 scores
/// are the least 64 rows, and columns are most of the bytes; 2^25 are 512. PREDICTED for an H200 (docs/step_model.md), 65,536 pairs of 384
/// numbers in bf16: 115 ms at 2^20, 41 at 2^25, 37 at 2^26, 35 at 2^27. Smaller tiles that the L2 cache holds (2^22 in 50 MB) spare at most
/// the bytes of scores, some 30 ms, and read the columns eight times as often.
///
/// 2^25 take 128 MiB in f32 and 64 for their gradient in bf16, no more than the columns of such a batch with their gradients do.
constexpr int64_t gpu_tile_elements = int64_t{1} << 25;

/// x in `dtype`: itself, or a copy in the arena.
ConstTensor in_dtype(Exec& ex, DType dtype, ConstTensor x) {
  if (x.dtype() == dtype) return x;
  const Tensor copy = ex.arena.tensor(dtype, x.shape());
  ex.backend.cast(x, copy);
  return copy;
}

}  // namespace

ConstTensor score_operand(Exec& ex, ScorePrecision precision, ConstTensor vectors) {
  const auto tag = ex.arena.taking_for(Use::vectors);
  return in_dtype(ex, precision == ScorePrecision::bf16 ? DType::bf16 : vectors.dtype(), vectors);
}

void score(Exec& ex, const ScoreBlock& block, int64_t first, Tensor tile) {
  const int64_t end = first + tile.dim(0);
  if (block.group == 0) return ex.backend.gemm(Op::none, block.rows.rows(first, end), Op::transpose, block.columns, 1, 0, tile);
  ex.backend.group_products(block.rows.rows(first, end), block.columns.rows(first * block.group, end * block.group), tile);
}

void score_backward(Exec& ex, const ScoreBlock& block, int64_t first, ConstTensor d_tile) {
  const int64_t end = first + d_tile.dim(0);
  if (block.group == 0) {
    const auto scope = ex.arena.scope();
    const ConstTensor d = in_dtype(ex, block.columns.dtype(), d_tile);
    ex.backend.gemm(Op::none, d, Op::none, block.columns, 1, 1, block.d_rows.rows(first, end));
    ex.backend.gemm(Op::transpose, d, Op::none, block.rows.rows(first, end), 1, 1, block.d_columns);
    return;
  }
  const Slice own{first * block.group, end * block.group};
  ex.backend.group_products_backward(d_tile, block.rows.rows(first, end), block.columns.rows(own.begin, own.end),
                                     block.d_rows.rows(first, end), block.d_columns.rows(own.begin, own.end));
}

int64_t score_tile_elements(Device device) {
  switch (device) {
    case Device::cpu:
    case Device::debug:
      return host_tile_elements;
    case Device::cuda:
    case Device::null:  // stands for a GPU (core/null/counting_backend.h)
      return gpu_tile_elements;
  }
  throw_internal(__FILE__, __LINE__, "device", "no such device");
}

int64_t tile_rows(int64_t rows, int64_t width, int64_t tile_elements) {
  return std::min(rows, std::max(tile_elements / std::max(width, int64_t{1}), least_tile_rows));
}

void cross_entropy(Exec& ex, std::span<const ScoreBlock> blocks, const CrossEntropyOptions& options, const TileMask& mask, Tensor share) {
  LODE_CHECK(!blocks.empty() && blocks.size() <= most_blocks, "cross_entropy: ", blocks.size(), " blocks");
  const int64_t rows = blocks[0].rows.dim(0);
  const DType dtype = blocks[0].d_rows.dtype();
  const double scale = 1 / options.temperature;
  int64_t width = 0;
  for (const ScoreBlock& block : blocks) width += block.width();
  const int64_t step = tile_rows(rows, width, options.tile_elements);
  const auto outer = ex.arena.scope();
  const Tensor loss = zero_total(ex);
  for (int64_t begin = 0; begin < rows; begin += step) {
    const int64_t n = std::min(step, rows - begin);
    const Band positives{options.first_positive + begin * options.positive_stride, options.positive_stride};
    const auto scope = ex.arena.scope();
    const Tensor lse = ex.arena.tensor(dtype, {n}), part = ex.arena.tensor(dtype, {n}), tile_loss = zero_total(ex);
    std::array<Tensor, most_blocks> tiles;
    for (size_t b = 0; b < blocks.size(); ++b) {
      tiles[b] = ex.arena.tensor(dtype, {n, blocks[b].width()});
      score(ex, blocks[b], begin, tiles[b]);
      mask(b, begin, tiles[b]);
      ex.backend.log_sum_exp_rows(tiles[b], scale, b == 0 ? lse : part);
      if (b > 0) ex.backend.log_add(part, lse);
    }
    ex.backend.add_band_sum(lse, {}, 1, tile_loss);
    ex.backend.add_band_sum(tiles[0], positives, -scale, tile_loss);
    ex.backend.axpy(1, tile_loss, loss);
    for (size_t b = 0; b < blocks.size(); ++b) {
      ex.backend.softmax_rows(tiles[b], scale, lse, options.row_weight * scale);
      if (b == 0) ex.backend.add_to_band(tiles[b], positives, -options.row_weight * scale);
      score_backward(ex, blocks[b], begin, tiles[b]);
    }
  }
  ex.backend.axpy(options.row_weight, loss, share);
}

}  // namespace lodestone
