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

void dropout(const char* op, const DeviceTexts& texts, const Dropout& dropout) {
  LODE_CHECK(dropout.p >= 0 && dropout.p < 1, op, ": dropout probability ", dropout.p, " is not in [0, 1)");
  LODE_CHECK(dropout_threshold(dropout.p) == 0 || texts.keys.count() == texts.texts(), op, ": ", texts.keys.count(), " text keys for ",
             texts.texts(), " texts");
}

ProductDims linear(ConstTensor x, ConstTensor weight, ConstTensor bias, ConstTensor y, Biases biases) {
  matrix("linear", "x", x);
  matrix("linear", "weight", weight);
  product_dtypes("linear", x, weight, y);
  const ProductDims d{x.dim(0), weight.dim(0), x.dim(1)};
  shape("linear", "weight", weight, {d.n, d.k});
  shape("linear", "y", y, {d.m, d.n});
  if (bias.bytes() != nullptr) {
    shape("linear", "bias", bias, {d.n});
    if (biases == Biases::wide || bias.dtype() != y.dtype()) dtype("linear", "bias", bias, wide(x.dtype()));
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

void token_rows(const char* op, const char* name, const DeviceTexts& texts, ConstTensor x) {
  matrix(op, name, x);
  LODE_CHECK(x.dim(0) == texts.tokens(), op, ": ", name, " has ", x.dim(0), " rows for ", texts.tokens(), " tokens");
}

void same(const char* op, const char* name, ConstTensor x, ConstTensor y) {
  compute_dtype(op, "x", x);
  shape(op, name, y, x.shape());
  dtype(op, name, y, x.dtype());
}

void embed(const char* op, const DeviceTexts& texts, DType wide_dtype, ConstTensor word, ConstTensor position, ConstTensor type,
           ConstTensor y) {
  token_rows(op, "y", texts, y);
  const int64_t hidden = y.dim(1);
  for (const ConstTensor& t : {word, position, type}) {
    matrix(op, "a table", t);
    dtype(op, "a table", t, wide_dtype);
    LODE_CHECK(t.dim(1) == hidden, op, ": a table has ", t.dim(1), " columns, needs ", hidden);
  }
  LODE_CHECK(type.dim(0) >= (texts.second.empty() ? 1 : 2), op, ": the type table has ", type.dim(0), " rows");
  LODE_CHECK(texts.ids_end <= word.dim(0), op, ": token id ", texts.ids_end - 1, " of a vocabulary of ", word.dim(0));
  LODE_CHECK(texts.longest <= position.dim(0), op, ": a text has ", texts.longest, " tokens, the model ", position.dim(0), " positions");
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

void attention(const char* op, const DeviceTexts& texts, ConstTensor qkv, int64_t heads, const Dropout& d, ConstTensor ctx,
               ConstTensor lse) {
  token_rows(op, "qkv", texts, qkv);
  compute_dtype(op, "qkv", qkv);
  dropout(op, texts, d);
  LODE_CHECK(heads > 0 && qkv.dim(1) % (3 * heads) == 0, op, ": qkv ", qkv.shape(), " does not split into 3 x ", heads, " heads");
  LODE_CHECK(heads <= 65536, op, ": more than 65536 heads");
  shape(op, "ctx", ctx, {qkv.dim(0), qkv.dim(1) / 3});
  dtype(op, "ctx", ctx, qkv.dtype());
  shape(op, "lse", lse, {qkv.dim(0), heads});
  dtype(op, "lse", lse, wide(qkv.dtype()));
}

void masked_attention(const char* op, const DeviceTexts& texts, const DeviceMasks& masks, ConstTensor q, ConstTensor kv, int64_t heads,
                      const Dropout& d, ConstTensor ctx, ConstTensor lse) {
  token_rows(op, "q", texts, q);
  compute_dtype(op, "q", q);
  dropout(op, texts, d);
  LODE_CHECK(heads > 0 && heads <= 65536 && q.dim(1) % heads == 0, op, ": q ", q.shape(), " does not split into ", heads, " heads");
  shape(op, "kv", kv, {q.dim(0), 2 * q.dim(1)});
  dtype(op, "kv", kv, q.dtype());
  same(op, "ctx", q, ctx);
  shape(op, "lse", lse, {q.dim(0), heads});
  dtype(op, "lse", lse, wide(q.dtype()));
  LODE_CHECK(masks.first.count() == texts.texts() && masks.of_row.count() == texts.tokens(), op, ": masks of ", masks.first.count(),
             " texts and ", masks.of_row.count(), " rows for ", texts.texts(), " texts of ", texts.tokens(), " tokens");
}

void cross_entropy(const char* op, ConstTensor logits, ConstTensor labels, ConstTensor lse) {
  row_statistic(op, logits, lse);
  shape(op, "labels", labels, {logits.dim(0)});
  dtype(op, "labels", labels, DType::i32);
}

void chosen_rows(const char* op, ConstTensor many, ConstTensor places, ConstTensor few) {
  matrix(op, "x", many);
  shape(op, "the chosen rows", few, {places.count(), many.dim(1)});
  dtype(op, "the chosen rows", few, many.dtype());
  dtype(op, "places", places, DType::i64);
}

void pool(const char* op, const DeviceTexts& texts, ConstTensor x, ConstTensor y) {
  token_rows(op, "x", texts, x);
  compute_dtype(op, "x", x);
  shape(op, "y", y, {texts.texts(), x.dim(1)});
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

void total(const char* op, ConstTensor total) {
  shape(op, "the total", total, {1});
  dtype(op, "the total", total, DType::f64);
}

void band(const char* op, ConstTensor x, Band band) {
  dtype(op, "x", x, wide(x.dtype()));
  const int64_t rows = x.dim(0), columns = x.shape().rank() == 1 ? 1 : x.dim(1);
  LODE_CHECK(rows == 0 || (band.first >= 0 && band.width >= 0 && band.first + band.width <= columns &&
                           band.first + (rows - 1) * band.stride >= 0 && band.first + (rows - 1) * band.stride + band.width <= columns),
             op, ": columns from ", band.first, ", ", band.stride, " further each row, ", band.width, " wide, of x ", x.shape());
}

void band_values(const char* op, ConstTensor x, Band b, ConstTensor y) {
  band(op, x, b);
  shape(op, "y", y, {x.dim(0), b.width});
  dtype(op, "y", y, DType::f64);
}

void masked_elements(const char* op, ConstTensor offsets, ConstTensor columns, ConstTensor x) {
  matrix(op, "x", x);
  dtype(op, "x", x, wide(x.dtype()));
  shape(op, "offsets", offsets, {x.dim(0) + 1});
  dtype(op, "offsets", offsets, DType::i64);
  if (!columns.empty()) dtype(op, "columns", columns, DType::i32);
}

void alike(const char* op, ConstTensor x, ConstTensor y) {
  dtype(op, "x", x, wide(x.dtype()));
  shape(op, "y", y, x.shape());
  dtype(op, "y", y, x.dtype());
}

void groups(const char* op, ConstTensor rows, ConstTensor columns, ConstTensor scores, DType scores_dtype) {
  matrix(op, "rows", rows);
  matrix(op, "columns", columns);
  matrix(op, "the scores", scores);
  dtype(op, "rows", rows, wide(rows.dtype()));
  shape(op, "columns", columns, {rows.dim(0) * scores.dim(1), rows.dim(1)});
  dtype(op, "columns", columns, rows.dtype());
  LODE_CHECK(scores.dim(0) == rows.dim(0), op, ": scores ", scores.shape(), " of rows ", rows.shape());
  dtype(op, "the scores", scores, scores_dtype);
}

namespace {

/// f64 matrices of one shape, and a total.
void of_groups(const char* op, ConstTensor scores, ConstTensor other, ConstTensor d_scores, ConstTensor sum) {
  matrix(op, "scores", scores);
  for (const ConstTensor& t : {scores, other, d_scores}) {
    shape(op, "an operand", t, scores.shape());
    dtype(op, "an operand", t, DType::f64);
  }
  total(op, sum);
}

}  // namespace

void group_loss(const GroupLoss& loss, ConstTensor scores, ConstTensor teacher, ConstTensor d_scores, ConstTensor sum) {
  of_groups("group_loss", scores, reads_teacher(loss) ? teacher : scores, d_scores, sum);
}

void group_cascade(ConstTensor scores, ConstTensor order, ConstTensor log_weights, ConstTensor others, ConstTensor d_scores,
                   ConstTensor sum) {
  const char* op = "group_cascade";
  of_groups(op, scores, log_weights, d_scores, sum);
  shape(op, "order", order, scores.shape());
  dtype(op, "order", order, DType::i64);
  shape(op, "others", others, {scores.dim(0)});
  LODE_CHECK(others.dtype() == DType::f32 || others.dtype() == DType::f64, op, ": others is ", name_of(others.dtype()));
}

void cosent(ConstTensor cosines, ConstTensor gold, ConstTensor order, Slice own, ConstTensor work, ConstTensor d_cosines, ConstTensor sum) {
  const char* op = "cosent";
  const int64_t n = cosines.count();
  shape(op, "cosines", cosines, {n});
  shape(op, "gold", gold, {n});
  shape(op, "order", order, {n});
  dtype(op, "order", order, DType::i64);
  LODE_CHECK(0 <= own.begin && own.begin <= own.end && own.end <= n, op, ": the caller's pairs are ", own.begin, " to ", own.end, " of ",
             n);
  shape(op, "work", work, {3, n});
  shape(op, "d_cosines", d_cosines, {own.count()});
  for (const ConstTensor& t : {cosines, gold, work, d_cosines}) dtype(op, "an operand", t, DType::f64);
  total(op, sum);
}

void adamw(const AdamWStep& step, const std::vector<UpdateRun>& runs, ConstTensor g, ConstTensor p, ConstTensor m, ConstTensor v) {
  LODE_CHECK(step.t >= 1, "adamw: step ", step.t, ", needs at least 1");
  for (const ConstTensor& t : {p, m, v}) {
    LODE_CHECK(t.count() == g.count(), "adamw: ", t.shape(), " beside a gradient of ", g.shape());
    dtype("adamw", "an operand", t, wide(g.dtype()));
  }
  dtype("adamw", "g", g, wide(g.dtype()));
  int64_t end = 0;
  for (const UpdateRun& run : runs) {
    LODE_CHECK(end <= run.slice.begin && run.slice.begin <= run.slice.end && run.slice.end <= g.count(), "adamw: run [", run.slice.begin,
               ", ", run.slice.end, ") begins before ", end, ", where the last one ended, or ends beyond ", g.count());
    end = run.slice.end;
  }
}

}  // namespace lodestone::checks
