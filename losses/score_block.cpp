#include "losses/score_block.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

namespace lodestone {

namespace {

constexpr int64_t least_tile_rows = 64;
constexpr size_t most_blocks = 4;

template <class Function>
void by_dtype(DType dtype, Function&& function) {
  if (dtype == DType::f64)
    function(double{});
  else
    function(float{});
}

/// Calls visit(element) for the elements (i, first + i * stride) of a tile [n,width], or [n].
template <class T, class View, class Visit>
void each_row(View tile, int64_t first, int64_t stride, const Visit& visit) {
  const int64_t width = tile.shape().rank() == 1 ? 1 : tile.dim(1);
  const auto x = tile.template host<T>();
  for (int64_t i = 0; i < tile.dim(0); ++i) visit(x[static_cast<size_t>(i * width + first + i * stride)]);
}

}  // namespace

void score(Exec& ex, const ScoreBlock& block, int64_t first, Tensor tile) {
  const int64_t end = first + tile.dim(0);
  if (block.group == 0) return ex.backend.gemm(Op::none, block.rows.rows(first, end), Op::transpose, block.columns, 1, 0, tile);
  for (int64_t i = first; i < end; ++i)
    ex.backend.gemm(Op::none, block.rows.rows(i, i + 1), Op::transpose, block.columns.rows(i * block.group, (i + 1) * block.group), 1, 0,
                    tile.rows(i - first, i - first + 1));
}

void score_backward(Exec& ex, const ScoreBlock& block, int64_t first, ConstTensor d_tile) {
  const int64_t end = first + d_tile.dim(0);
  if (block.group == 0) {
    ex.backend.gemm(Op::none, d_tile, Op::none, block.columns, 1, 1, block.d_rows.rows(first, end));
    ex.backend.gemm(Op::transpose, d_tile, Op::none, block.rows.rows(first, end), 1, 1, block.d_columns);
    return;
  }
  for (int64_t i = first; i < end; ++i) {
    const ConstTensor d_scores = d_tile.rows(i - first, i - first + 1);
    const int64_t begin = i * block.group;
    ex.backend.gemm(Op::none, d_scores, Op::none, block.columns.rows(begin, begin + block.group), 1, 1, block.d_rows.rows(i, i + 1));
    ex.backend.gemm(Op::transpose, d_scores, Op::none, block.rows.rows(i, i + 1), 1, 1, block.d_columns.rows(begin, begin + block.group));
  }
}

int64_t tile_rows(int64_t rows, int64_t width, int64_t tile_elements) {
  return std::min(rows, std::max(tile_elements / std::max(width, int64_t{1}), least_tile_rows));
}

double cross_entropy(Exec& ex, std::span<const ScoreBlock> blocks, const CrossEntropyOptions& options, const TileMask& mask) {
  LODE_CHECK(!blocks.empty() && blocks.size() <= most_blocks, "cross_entropy: ", blocks.size(), " blocks");
  const int64_t rows = blocks[0].rows.dim(0);
  const DType dtype = blocks[0].rows.dtype();
  const double scale = 1 / options.temperature;
  int64_t width = 0;
  for (const ScoreBlock& block : blocks) width += block.width();
  const int64_t step = tile_rows(rows, width, options.tile_elements);
  double loss = 0;
  for (int64_t begin = 0; begin < rows; begin += step) {
    const int64_t n = std::min(step, rows - begin);
    const int64_t first_positive = options.first_positive + begin * options.positive_stride;
    const auto scope = ex.arena.scope();
    const Tensor lse = ex.arena.tensor(dtype, {n}), part = ex.arena.tensor(dtype, {n});
    std::array<Tensor, most_blocks> tiles;
    for (size_t b = 0; b < blocks.size(); ++b) {
      tiles[b] = ex.arena.tensor(dtype, {n, blocks[b].width()});
      score(ex, blocks[b], begin, tiles[b]);
      mask(b, begin, tiles[b]);
      ex.backend.log_sum_exp_rows(tiles[b], scale, b == 0 ? lse : part);
      if (b > 0) log_add(part, lse);
    }
    loss += sum(lse, 0, 0) - scale * sum(tiles[0], first_positive, options.positive_stride);
    for (size_t b = 0; b < blocks.size(); ++b) {
      ex.backend.softmax_rows(tiles[b], scale, lse, options.row_weight * scale);
      if (b == 0) subtract(tiles[b], options.row_weight * scale, first_positive, options.positive_stride);
      score_backward(ex, blocks[b], begin, tiles[b]);
    }
  }
  return loss * options.row_weight;
}

size_t cross_entropy_bytes(DType dtype, int64_t rows, std::initializer_list<int64_t> widths, int64_t tile_elements) {
  const int64_t n = tile_rows(rows, std::accumulate(widths.begin(), widths.end(), int64_t{0}), tile_elements);
  size_t bytes = 2 * Arena::taken_bytes(dtype, {n});
  for (const int64_t width : widths) bytes += Arena::taken_bytes(dtype, {n, width});
  return bytes;
}

void set_to_minus_infinity(Tensor tile, int64_t first, int64_t stride) {
  by_dtype(tile.dtype(), [&]<class T>(T) { each_row<T>(tile, first, stride, [](T& x) { x = -std::numeric_limits<T>::infinity(); }); });
}

void subtract(Tensor tile, double value, int64_t first, int64_t stride) {
  by_dtype(tile.dtype(), [&]<class T>(T) { each_row<T>(tile, first, stride, [&](T& x) { x -= static_cast<T>(value); }); });
}

double sum(ConstTensor tile, int64_t first, int64_t stride) {
  double total = 0;
  by_dtype(tile.dtype(), [&]<class T>(T) { each_row<T>(tile, first, stride, [&](const T& x) { total += static_cast<double>(x); }); });
  return total;
}

void log_add(ConstTensor part, Tensor total) {
  by_dtype(total.dtype(), [&]<class T>(T) {
    const auto in = part.host<T>();
    const auto out = total.host<T>();
    for (size_t i = 0; i < out.size(); ++i) {
      const auto a = static_cast<double>(in[i]), b = static_cast<double>(out[i]), top = std::max(a, b);
      if (top > -HUGE_VAL || std::isnan(a + b)) out[i] = static_cast<T>(top + std::log(std::exp(a - top) + std::exp(b - top)));
    }
  });
}

}  // namespace lodestone
