// What must hold of the operands of every operation of core/backend.h: shapes and dtypes.
#pragma once

#include "core/backend.h"

namespace lodestone::checks {

/// Each throws Error (internal) naming the operation, the operand and both values. None allocates when all is well.

/// The dtype of statistics, parameters and their gradients beside activations of dtype t.
constexpr DType wide(DType t) { return t == DType::f64 ? DType::f64 : DType::f32; }

void shape(const char* op, const char* name, ConstTensor t, Shape expected);
void dtype(const char* op, const char* name, ConstTensor t, DType expected);
/// Keys are needed for each text when anything is dropped; p must be in [0, 1).
void dropout(const char* op, const DeviceTexts& texts, const Dropout& dropout);

/// Rows, columns and depth of a product.
struct ProductDims {
  int64_t m = 0, n = 0, k = 0;
};
/// Which dtypes a bias may have: the wide one, or also that of y.
enum class Biases : uint8_t { wide, wide_or_rounded };
ProductDims linear(ConstTensor x, ConstTensor weight, ConstTensor bias, ConstTensor y, Biases biases = Biases::wide);
ProductDims gemm(Op op_a, ConstTensor a, Op op_b, ConstTensor b, ConstTensor c);
void column_sums(ConstTensor x, ConstTensor sums);

/// Also that every id is below V and every text fits into P.
void embed(const char* op, const DeviceTexts& texts, DType wide_dtype, ConstTensor word, ConstTensor position, ConstTensor type,
           ConstTensor y);

void layer_norm_forward(ConstTensor x, ConstTensor gamma, ConstTensor beta, ConstTensor y, ConstTensor mean, ConstTensor rstd);
void layer_norm_backward(ConstTensor dy, ConstTensor x, ConstTensor gamma, ConstTensor mean, ConstTensor rstd, ConstTensor dx,
                         ConstTensor d_gamma, ConstTensor d_beta);
void token_rows(const char* op, const char* name, const DeviceTexts& texts, ConstTensor x);
/// y of x's shape and dtype.
void same(const char* op, const char* name, ConstTensor x, ConstTensor y);

void attention(const char* op, const DeviceTexts& texts, ConstTensor qkv, int64_t heads, const Dropout& dropout, ConstTensor ctx,
               ConstTensor lse);

void masked_attention(const char* op, const DeviceTexts& texts, const DeviceMasks& masks, ConstTensor q, ConstTensor kv, int64_t heads,
                      const Dropout& dropout, ConstTensor ctx, ConstTensor lse);
/// logits [R,K] wide; labels [R]; lse [R].
void cross_entropy(const char* op, ConstTensor logits, ConstTensor labels, ConstTensor lse);
/// Matrices of equal width and dtype; `few` has a row for each place. Whether `many` has all that are named is not looked at.
void chosen_rows(const char* op, ConstTensor many, ConstTensor places, ConstTensor few);

/// x [S,H] in a compute dtype, y [B,H] in its wide dtype.
void pool(const char* op, const DeviceTexts& texts, ConstTensor x, ConstTensor y);
/// x [B,E], y [B,d], norms [B], all f32 or all f64.
void l2_normalize(const char* op, ConstTensor x, ConstTensor y, ConstTensor norms);
void row_statistic(const char* op, ConstTensor x, ConstTensor lse);
/// A total, and vectors of scores.
void total(const char* op, ConstTensor total);
/// x is wide, a matrix or a vector, and has the band.
void band(const char* op, ConstTensor x, Band band);
/// y holds the band's elements of x.
void band_values(const char* op, ConstTensor x, Band band, ConstTensor y);
/// offsets [n+1] and columns of a matrix of n rows.
void masked_elements(const char* op, ConstTensor offsets, ConstTensor columns, ConstTensor x);
/// Wide vectors or matrices of one shape and dtype.
void alike(const char* op, ConstTensor x, ConstTensor y);
/// rows [n,E], columns [n*G,E] of one wide dtype, scores [n,G].
void groups(const char* op, ConstTensor rows, ConstTensor columns, ConstTensor scores, DType scores_dtype);
/// f64 matrices of one shape, and a total.
void group_loss(const GroupLoss& loss, ConstTensor scores, ConstTensor teacher, ConstTensor d_scores, ConstTensor total);
void group_cascade(ConstTensor scores, ConstTensor order, ConstTensor log_weights, ConstTensor others, ConstTensor d_scores,
                   ConstTensor total);
void cosent(ConstTensor cosines, ConstTensor gold, ConstTensor order, Slice own, ConstTensor work, ConstTensor d_cosines,
            ConstTensor total);
void adamw(const AdamWStep& step, const std::vector<UpdateRun>& runs, ConstTensor g, ConstTensor p, ConstTensor m, ConstTensor v);

}  // namespace lodestone::checks
