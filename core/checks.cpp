// What must hold of the operands of every operation of core/backend.h: shapes and dtypes.
#include "core/checks.h"

#include <algorithm>

namespace lodestone::checks {
namespace {

void compute_dtype(const char* op, const char* name, ConstTensor t) {
  LODE_CHECK(t.dtype() == DType::f64 || t.dtype() == DType::f32 || t.dtype() == DType::bf16, op, ": ", name, " is ", name_of(t.dtype()),
             ", needs f64, f32 or bf16");
}

void matrix(const char* op, const char* name, ConstTensor t) {
  LODE_CHECK(t.shape().rank() == 2, op, ": ", name, " has shape ", t.shape(), ", needs two dimensions");
}

void product_dtypes(const char* op, ConstTensor a, ConstTensor b, ConstTensor c) {
  compute_dtype(op, "the first operand", a);
  dtype(op, "the second operand", b, a.dtype());
  LODE_CHECK(c.dtype() == a.dtype() || (a.dtype() == DType::bf16 && c.dtype() == DType::f32), op, ": the result is ", name_of(c.dtype()),
             " for operands of ", name_of(a.dtype()));
}

}  // namespace

void shape(const char* op, const char* name, ConstTensor t, Shape expected) {
  LODE_CHECK(t.shape() == expected, op, ": ", name, " has shape ", t.shape(), ", needs ", expected);
}

void dtype(const char* op, const char* name, ConstTensor t, DType expected) {
  LODE_CHECK(t.dtype() == expected, op, ": ", name, " is ", name_of(t.dtype()), ", needs ", name_of(expected));
}

void dropout(const char* op, const TokenBatch& tokens, const Dropout& dropout) {
  LODE_CHECK(dropout.p >= 0 && dropout.p < 1, op, ": dropout probability ", dropout.p, " is not in [0, 1)");
  LODE_CHECK(dropout_threshold(dropout.p) == 0 || static_cast<int64_t>(tokens.keys.size()) == tokens.texts(), op, ": ", tokens.keys.size(),
             " text keys for ", tokens.texts(), " texts");
}

ProductDims linear(ConstTensor x, ConstTensor weight, ConstTensor bias, ConstTensor y) {
  matrix("linear", "x", x);
  matrix("linear", "weight", weight);
  product_dtypes("linear", x, weight, y);
  const ProductDims d{x.dim(0), weight.dim(0), x.dim(1)};
  shape("linear", "weight", weight, {d.n, d.k});
  shape("linear", "y", y, {d.m, d.n});
  if (bias.bytes() != nullptr) {
    shape("linear", "bias", bias, {d.n});
    dtype("linear", "bias", bias, wide(x.dtype()));
  }
  return d;
}

ProductDims gemm(Op op_a, ConstTensor a, Op op_b, ConstTensor b, ConstTensor c) {
  matrix("gemm", "a", a);
  matrix("gemm", "b", b);
  product_dtypes("gemm", a, b, c);
  const ProductDims d{a.dim(op_a == Op::none ? 0 : 1), b.dim(op_b == Op::none ? 1 : 0), a.dim(op_a == Op::none ? 1 : 0)};
  LODE_CHECK(b.dim(op_b == Op::none ? 0 : 1) == d.k, "gemm: depth ", d.k, " of a does not match b ", b.shape());
  shape("gemm", "c", c, {d.m, d.n});
  return d;
}

void column_sums(ConstTensor x, ConstTensor sums) {
  matrix("column_sums", "x", x);
  compute_dtype("column_sums", "x", x);
  shape("column_sums", "sums", sums, {x.dim(1)});
  dtype("column_sums", "sums", sums, wide(x.dtype()));
}

void token_rows(const char* op, const char* name, const TokenBatch& tokens, ConstTensor x) {
  matrix(op, name, x);
  LODE_CHECK(x.dim(0) == tokens.tokens(), op, ": ", name, " has ", x.dim(0), " rows for ", tokens.tokens(), " tokens");
  LODE_CHECK(!tokens.offsets.empty() && tokens.offsets.front() == 0 && tokens.offsets.back() == tokens.tokens(), op,
             ": offsets of the texts do not cover the tokens");
}

void same(const char* op, const char* name, ConstTensor x, ConstTensor y) {
  compute_dtype(op, "x", x);
  shape(op, name, y, x.shape());
  dtype(op, name, y, x.dtype());
}

void embed(const char* op, const TokenBatch& tokens, DType wide_dtype, ConstTensor word, ConstTensor position, ConstTensor type,
           ConstTensor y) {
  token_rows(op, "y", tokens, y);
  const int64_t hidden = y.dim(1);
  for (const ConstTensor& t : {word, position, type}) {
    matrix(op, "a table", t);
    dtype(op, "a table", t, wide_dtype);
    LODE_CHECK(t.dim(1) == hidden, op, ": a table has ", t.dim(1), " columns, needs ", hidden);
  }
  LODE_CHECK(type.dim(0) >= (tokens.second.empty() ? 1 : 2), op, ": the type table has ", type.dim(0), " rows");
  LODE_CHECK(tokens.second.empty() || static_cast<int64_t>(tokens.second.size()) == tokens.texts(), op, ": ", tokens.second.size(),
             " beginnings of type 1 for ", tokens.texts(), " texts");
  for (const int32_t id : tokens.ids) LODE_CHECK(id >= 0 && id < word.dim(0), op, ": token id ", id, " of a vocabulary of ", word.dim(0));
  for (int64_t b = 0; b < tokens.texts(); ++b)
    LODE_CHECK(tokens.length(b) >= 0 && tokens.length(b) <= position.dim(0), op, ": text ", b, " has ", tokens.length(b),
               " tokens, the model ", position.dim(0), " positions");
  for (int64_t b = 0; b < tokens.texts(); ++b)
    LODE_CHECK(tokens.first_length(b) >= 0 && tokens.first_length(b) <= tokens.length(b), op, ": type 1 begins at ", tokens.first_length(b),
               " in text ", b, " of ", tokens.length(b), " tokens");
}

void layer_norm_forward(ConstTensor x, ConstTensor gamma, ConstTensor beta, ConstTensor y, ConstTensor mean, ConstTensor rstd) {
  const char* op = "layer_norm_forward";
  matrix(op, "x", x);
  same(op, "y", x, y);
  for (const ConstTensor& t : {gamma, beta}) {
    shape(op, "gamma or beta", t, {x.dim(1)});
    dtype(op, "gamma or beta", t, wide(x.dtype()));
  }
  for (const ConstTensor& t : {mean, rstd}) {
    shape(op, "mean or rstd", t, {x.dim(0)});
    dtype(op, "mean or rstd", t, wide(x.dtype()));
  }
}

void layer_norm_backward(ConstTensor dy, ConstTensor x, ConstTensor gamma, ConstTensor mean, ConstTensor rstd, ConstTensor dx,
                         ConstTensor d_gamma, ConstTensor d_beta) {
  const char* op = "layer_norm_backward";
  matrix(op, "x", x);
  same(op, "dy", x, dy);
  same(op, "dx", x, dx);
  for (const ConstTensor& t : {gamma, d_gamma, d_beta}) {
    shape(op, "gamma, d_gamma or d_beta", t, {x.dim(1)});
    dtype(op, "gamma, d_gamma or d_beta", t, wide(x.dtype()));
  }
  for (const ConstTensor& t : {mean, rstd}) {
    shape(op, "mean or rstd", t, {x.dim(0)});
    dtype(op, "mean or rstd", t, wide(x.dtype()));
  }
}

void attention(const char* op, const TokenBatch& tokens, ConstTensor qkv, int64_t heads, const Dropout& d, ConstTensor ctx,
               ConstTensor lse) {
  token_rows(op, "qkv", tokens, qkv);
  compute_dtype(op, "qkv", qkv);
  dropout(op, tokens, d);
  LODE_CHECK(heads > 0 && qkv.dim(1) % (3 * heads) == 0, op, ": qkv ", qkv.shape(), " does not split into 3 x ", heads, " heads");
  LODE_CHECK(heads <= 65536, op, ": more than 65536 heads");
  shape(op, "ctx", ctx, {qkv.dim(0), qkv.dim(1) / 3});
  dtype(op, "ctx", ctx, qkv.dtype());
  shape(op, "lse", lse, {qkv.dim(0), heads});
  dtype(op, "lse", lse, wide(qkv.dtype()));
  for (int64_t b = 0; b < tokens.texts(); ++b)
    LODE_CHECK(tokens.length(b) >= 0 && tokens.length(b) <= 65536, op, ": text ", b, " has ", tokens.length(b), " tokens");
}

void masked_attention(const char* op, const TokenBatch& tokens, const KeyMasks& masks, ConstTensor q, ConstTensor kv, int64_t heads,
                      const Dropout& d, ConstTensor ctx, ConstTensor lse) {
  token_rows(op, "q", tokens, q);
  compute_dtype(op, "q", q);
  dropout(op, tokens, d);
  LODE_CHECK(heads > 0 && heads <= 65536 && q.dim(1) % heads == 0, op, ": q ", q.shape(), " does not split into ", heads, " heads");
  shape(op, "kv", kv, {q.dim(0), 2 * q.dim(1)});
  dtype(op, "kv", kv, q.dtype());
  same(op, "ctx", q, ctx);
  shape(op, "lse", lse, {q.dim(0), heads});
  dtype(op, "lse", lse, wide(q.dtype()));
  LODE_CHECK(std::ssize(masks.first) == tokens.texts() && std::ssize(masks.of_row) == tokens.tokens(), op, ": masks of ",
             masks.first.size(), " texts and ", masks.of_row.size(), " rows for ", tokens.texts(), " texts of ", tokens.tokens(),
             " tokens");
  for (int64_t b = 0; b < tokens.texts(); ++b) {
    const int64_t length = tokens.length(b);
    LODE_CHECK(length >= 0 && length <= 65536, op, ": text ", b, " has ", length, " tokens");
    const auto rows = masks.of_row.subspan(static_cast<size_t>(tokens.offsets[static_cast<size_t>(b)]), static_cast<size_t>(length));
    const int64_t count = rows.empty() ? 0 : int64_t{*std::max_element(rows.begin(), rows.end())} + 1;
    const int64_t first = masks.first[static_cast<size_t>(b)];
    LODE_CHECK(first >= 0 && first + count * KeyMasks::words(length) <= std::ssize(masks.bits), op, ": the masks of text ", b,
               " lie outside their ", masks.bits.size(), " words");
  }
}

void cross_entropy(const char* op, ConstTensor logits, std::span<const int32_t> labels, ConstTensor lse) {
  row_statistic(op, logits, lse);
  LODE_CHECK(std::ssize(labels) == logits.dim(0), op, ": ", labels.size(), " labels for ", logits.dim(0), " rows");
}

void chosen_rows(const char* op, ConstTensor many, std::span<const int64_t> places, ConstTensor few) {
  matrix(op, "x", many);
  shape(op, "the chosen rows", few, {std::ssize(places), many.dim(1)});
  dtype(op, "the chosen rows", few, many.dtype());
  for (const int64_t place : places) LODE_CHECK(place >= 0 && place < many.dim(0), op, ": row ", place, " of ", many.dim(0));
}

void pool(const char* op, const TokenBatch& tokens, ConstTensor x, ConstTensor y) {
  token_rows(op, "x", tokens, x);
  compute_dtype(op, "x", x);
  shape(op, "y", y, {tokens.texts(), x.dim(1)});
  dtype(op, "y", y, wide(x.dtype()));
}

void l2_normalize(const char* op, ConstTensor x, ConstTensor y, ConstTensor norms) {
  matrix(op, "x", x);
  matrix(op, "y", y);
  LODE_CHECK(y.dim(0) == x.dim(0) && y.dim(1) <= x.dim(1), op, ": y ", y.shape(), " of x ", x.shape());
  shape(op, "norms", norms, {x.dim(0)});
  for (const ConstTensor& t : {x, y, norms}) dtype(op, "an operand", t, wide(x.dtype()));
}

void row_statistic(const char* op, ConstTensor x, ConstTensor lse) {
  matrix(op, "x", x);
  dtype(op, "x", x, wide(x.dtype()));
  shape(op, "lse", lse, {x.dim(0)});
  dtype(op, "lse", lse, x.dtype());
}

void adamw(const AdamWStep& step, ConstTensor g, ConstTensor p, ConstTensor m, ConstTensor v) {
  LODE_CHECK(step.t >= 1, "adamw: step ", step.t, ", needs at least 1");
  for (const ConstTensor& t : {p, m, v}) {
    LODE_CHECK(t.count() == g.count(), "adamw: ", t.shape(), " beside a gradient of ", g.shape());
    dtype("adamw", "an operand", t, wide(g.dtype()));
  }
  dtype("adamw", "g", g, wide(g.dtype()));
}

}  // namespace lodestone::checks
