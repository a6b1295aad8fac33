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
void dropout(const char* op, const TokenBatch& tokens, const Dropout& dropout);

/// Rows, columns and depth of a product.
struct ProductDims {
  int64_t m = 0, n = 0, k = 0;
};
ProductDims linear(ConstTensor x, ConstTensor weight, ConstTensor bias, ConstTensor y);
ProductDims gemm(Op op_a, ConstTensor a, Op op_b, ConstTensor b, ConstTensor c);
void column_sums(ConstTensor x, ConstTensor sums);

/// Also that every id is below V, every text fits into P, and type 1 begins inside its text.
void embed(const char* op, const TokenBatch& tokens, DType wide_dtype, ConstTensor word, ConstTensor position, ConstTensor type,
           ConstTensor y);

void layer_norm_forward(ConstTensor x, ConstTensor gamma, ConstTensor beta, ConstTensor y, ConstTensor mean, ConstTensor rstd);
void layer_norm_backward(ConstTensor dy, ConstTensor x, ConstTensor gamma, ConstTensor mean, ConstTensor rstd, ConstTensor dx,
                         ConstTensor d_gamma, ConstTensor d_beta);
void token_rows(const char* op, const char* name, const TokenBatch& tokens, ConstTensor x);
/// y of x's shape and dtype.
void same(const char* op, const char* name, ConstTensor x, ConstTensor y);

void attention(const char* op, const TokenBatch& tokens, ConstTensor qkv, int64_t heads, const Dropout& dropout, ConstTensor ctx,
               ConstTensor lse);

void masked_attention(const char* op, const TokenBatch& tokens, const KeyMasks& masks, ConstTensor q, ConstTensor kv, int64_t heads,
                      const Dropout& dropout, ConstTensor ctx, ConstTensor lse);
/// logits [R,K] wide; R labels; lse [R].
void cross_entropy(const char* op, ConstTensor logits, std::span<const int32_t> labels, ConstTensor lse);
/// Matrices of equal width and dtype; `few` has a row for each place, `many` all that are named.
void chosen_rows(const char* op, ConstTensor many, std::span<const int64_t> places, ConstTensor few);

/// x [S,H] in a compute dtype, y [B,H] in its wide dtype.
void pool(const char* op, const TokenBatch& tokens, ConstTensor x, ConstTensor y);
/// x [B,E], y [B,d], norms [B], all f32 or all f64.
void l2_normalize(const char* op, ConstTensor x, ConstTensor y, ConstTensor norms);
void row_statistic(const char* op, ConstTensor x, ConstTensor lse);
void adamw(const AdamWStep& step, ConstTensor g, ConstTensor p, ConstTensor m, ConstTensor v);

}  // namespace lodestone::checks
