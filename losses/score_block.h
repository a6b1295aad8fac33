// ScoreBlock: a matrix of cosines of which only a tile of rows exists at a time, and softmax cross-entropy over several of them.
#pragma once

#include <span>

#include "core/exec.h"
#include "losses/score_precision.h"

namespace lodestone {

/// `vectors` [R,E] as products are to read them: themselves, or a copy in bf16 (Use::vectors), until the innermost scope ends.
///
/// Rounding to bf16, of 8 bits, moves a component by at most 2^-8 of itself, so a cosine of two rounded unit vectors lies within
/// 2^-7 + 2^-16 of theirs (Cauchy-Schwarz); 0.6 2^-8 / sqrt(E) is what independent roundings leave in the mean square. A logit is that
/// divided by the temperature: 0.16 at most at 0.05, 0.4 at 0.02, and at E = 384 typically 0.0024 and 0.006.
ConstTensor score_operand(Exec& ex, ScorePrecision precision, ConstTensor vectors);

/// Unit vectors against unit vectors. Gradients are added into d_rows and d_columns. Where every row meets every column, rows and columns
/// are wide, or both bf16 (score_operand()); scores and gradients are wide, and all sums run in that dtype.
struct ScoreBlock {
  ConstTensor rows;     // [R,E]
  ConstTensor columns;  // [M,E]
  Tensor d_rows;        // [R,E]
  Tensor d_columns;     // [M,E]
  int64_t group = 0;    // 0: every row meets every column; otherwise row i meets columns [i*group, (i+1)*group) only

  int64_t width() const { return group > 0 ? group : columns.dim(0); }  // scores of one row
};

/// tile [n,width] = cosines of the rows [first, first+n).
void score(Exec& ex, const ScoreBlock& block, int64_t first, Tensor tile);
/// d_rows and d_columns += their part of the gradient, given d_tile [n,width] of the rows [first, first+n). Beside operands of bf16 d_tile
/// is rounded as well, each element by at most 2^-8 of itself.
void score_backward(Exec& ex, const ScoreBlock& block, int64_t first, ConstTensor d_tile);

/// Scores that a tile should hold on `device`, where a batch has so many: the reasons are in score_block.cpp.
int64_t score_tile_elements(Device device);

/// Rows of a tile with `width` scores each that holds about `tile_elements`: all rows, or at least 64 of them.
int64_t tile_rows(int64_t rows, int64_t width, int64_t tile_elements);

/// A function (block, first, tile) that sets scores to -infinity where the tile's rows [first, first+n) may not meet their
/// columns: a reference to it, valid during the call to which it is passed.
class TileMask {
 public:
  template <class Function>
  TileMask(const Function& function)
      : function_(&function),
        call_([](const void* f, size_t block, int64_t first, Tensor tile) { (*static_cast<const Function*>(f))(block, first, tile); }) {}
  void operator()(size_t block, int64_t first, Tensor tile) const { call_(function_, block, first, tile); }

 private:
  const void* function_;
  void (*call_)(const void*, size_t, int64_t, Tensor);
};

struct CrossEntropyOptions {
  double temperature = 0.05;
  double row_weight = 1;  // of one row's loss
  int64_t tile_elements = int64_t{1} << 20;
  int64_t first_positive = 0;  // the positive of row i is column first_positive + i * positive_stride of block 0
  int64_t positive_stride = 0;
};

/// share (f64 [1]) += row_weight * sum_i ( log sum_{blocks, columns} exp(s / temperature) - s(positive of i) / temperature ); its gradient
/// is added. At most four blocks, all with the same number of rows.
void cross_entropy(Exec& ex, std::span<const ScoreBlock> blocks, const CrossEntropyOptions& options, const TileMask& mask, Tensor share);

}  // namespace lodestone
