#include "core/null/counting_backend.h"

#include <bit>
#include <span>

namespace lodestone {

namespace {

// FLOPs of what is more than an addition or a product, as the heads of core/cuda's files have them. Special function units make one
// exponential where the others make 16 FLOPs.
constexpr double exponential = 16, gelu_flops = 20, philox_flops = 10;

double count(ConstTensor x) { return static_cast<double>(x.count()); }

template <class... Tensors>
double bytes(const Tensors&... x) {
  return (0.0 + ... + static_cast<double>(x.size_bytes()));
}

int64_t rows_of(ConstTensor x) { return x.shape().rank() == 0 ? 0 : x.dim(0); }

double drawn(const Dropout& dropout) { return dropout.p > 0 ? philox_flops : 0; }

/// The sum over texts of T rows times T keys, of both of which there are whole tiles of so many.
double scores_of(const DeviceTexts& texts, int64_t rows_of_a_tile) {
  double scores = 0;
  if (texts.texts() == 0) return scores;
  const std::span<const int64_t> offsets = texts.offsets.host<int64_t>();
  for (size_t b = 1; b < offsets.size(); ++b) {
    const int64_t length = offsets[b] - offsets[b - 1], filled = (length + rows_of_a_tile - 1) / rows_of_a_tile * rows_of_a_tile;
    scores += static_cast<double>(filled * filled);
  }
  return scores;
}

}  // namespace

CountingBackend::CountingBackend(Launches launches)
    : NullBackend({.description = "counting", .row_bucket = 64, .wants_token_places = true, .wants_rounded_biases = true}),
      launches_(launches) {}

void CountingBackend::replay(const ReplayName&, const std::function<void()>& operations) {
  if (!replays()) return operations();
  work_.push_back({.kind = WorkKind::graphs, .launches = 1});
  const size_t begin = work_.size();
  operations();
  for (size_t i = begin; i < work_.size(); ++i) work_[i].in_graph = true;
}

void CountingBackend::elements(WorkKind kind, int64_t count, double flops_each, double bytes, int64_t launches) {
  if (count == 0) return;
  work_.push_back({.kind = kind, .other_flops = flops_each * static_cast<double>(count), .bytes = bytes, .launches = launches});
}

void CountingBackend::sum_columns(WorkKind kind, ConstTensor x, double flops_each, double bytes, int64_t sums) {
  constexpr int64_t rows_of_a_tile = 64;  // which leave a row of each sum, written and read
  const int64_t tiles = (rows_of(x) + rows_of_a_tile - 1) / rows_of_a_tile;
  const auto wide = static_cast<double>(size_of(checks::wide(x.dtype())));
  elements(kind, x.count(), flops_each, bytes + 2 * wide * static_cast<double>((tiles + 1) * x.dim(1) * sums), 2);
}

void CountingBackend::product(DType dtype, const checks::ProductDims& d, double bytes, int64_t launches) {
  const double flops = 2.0 * static_cast<double>(d.m) * static_cast<double>(d.n) * static_cast<double>(d.k);
  work_.push_back({.kind = WorkKind::products, .dtype = dtype, .product_flops = flops, .bytes = bytes, .launches = launches});
}

// ---- place and time: the host's part ----------------------------------------------------------------------------

ConstTensor CountingBackend::upload(ConstTensor host, Arena& arena) {
  NullBackend::upload(host, arena);
  if (!host.empty()) work_.push_back({.kind = WorkKind::uploads, .bytes = bytes(host)});
  return host;
}

void CountingBackend::upload(ConstTensor host, Tensor to) {
  NullBackend::upload(host, to);
  if (!host.empty()) work_.push_back({.kind = WorkKind::uploads, .bytes = bytes(host)});
}

void CountingBackend::synchronize() {
  NullBackend::synchronize();
  work_.push_back({.kind = WorkKind::waits});
}

void CountingBackend::wait_for(Event event) {
  NullBackend::wait_for(event);
  work_.push_back({.kind = WorkKind::waits});
}

// ---- products ---------------------------------------------------------------------------------------------------

// A bias that is rounded, or that the library cannot read where it lies, is copied by a kernel; in f64 it is added by one.
void CountingBackend::linear(ConstTensor x, ConstTensor weight, ConstTensor bias, Tensor y) {
  NullBackend::linear(x, weight, bias, y);
  const checks::ProductDims d = checks::linear(x, weight, bias, y, checks::Biases::wide_or_rounded);
  if (d.m == 0 || d.n == 0) return;
  const bool read_in_place = bias.dtype() == y.dtype() && std::bit_cast<uintptr_t>(bias.bytes()) % 16 == 0;
  product(x.dtype(), d, bytes(x, weight, y, bias), bias.empty() || read_in_place ? 1 : 2);
}

void CountingBackend::gemm(Op op_a, ConstTensor a, Op op_b, ConstTensor b, double alpha, double beta, Tensor c) {
  NullBackend::gemm(op_a, a, op_b, b, alpha, beta, c);
  const checks::ProductDims d = checks::gemm(op_a, a, op_b, b, c);
  if (d.m == 0 || d.n == 0) return;
  product(a.dtype(), d, bytes(a, b, c) + (beta == 0 ? 0 : bytes(c)), 1);
}

void CountingBackend::column_sums(ConstTensor x, Tensor sums) {
  NullBackend::column_sums(x, sums);
  sum_columns(WorkKind::products, x, 1, bytes(x));
}

// The bias's gradient comes out of the product, and a kernel adds it.
void CountingBackend::linear_gradients(ConstTensor dy, ConstTensor x, Tensor d_weight, Tensor d_bias) {
  const checks::ProductDims d = checks::gemm(Op::transpose, dy, Op::none, x, d_weight);
  if (d_weight.dtype() != DType::f32 || d_bias.empty() || d.n == 0 || d.k == 0)
    return NullBackend::linear_gradients(dy, x, d_weight, d_bias);
  checks::column_sums(dy, d_bias);
  product(dy.dtype(), d, bytes(dy, x, d_weight, d_weight) + 4 * bytes(d_bias), 2);
}

// ---- embeddings, normalisation and dropout ----------------------------------------------------------------------

void CountingBackend::embed_forward(const DeviceTexts& texts, ConstTensor word, ConstTensor position, ConstTensor type, Tensor y) {
  NullBackend::embed_forward(texts, word, position, type, y);
  const double words = count(y) * static_cast<double>(size_of(word.dtype()));
  elements(WorkKind::embeddings, y.count(), 2, words + bytes(y));
}

// Words, positions and each of the types read dy.
void CountingBackend::embed_backward(const DeviceTexts& texts, ConstTensor dy, Tensor d_word, Tensor d_position, Tensor d_type) {
  NullBackend::embed_backward(texts, dy, d_word, d_position, d_type);
  const double positions = static_cast<double>(texts.longest * dy.dim(1)) * static_cast<double>(size_of(d_position.dtype()));
  elements(WorkKind::embeddings, dy.count(), 2, 2 * bytes(dy) + 2 * positions, 2);
  for (int type = 0; type < (texts.second.empty() ? 1 : 2); ++type) sum_columns(WorkKind::embeddings, dy, 1, bytes(dy));
}

void CountingBackend::layer_norm_forward(ConstTensor x, ConstTensor gamma, ConstTensor beta, double eps, Tensor y, Tensor mean,
                                         Tensor rstd) {
  NullBackend::layer_norm_forward(x, gamma, beta, eps, y, mean, rstd);
  elements(WorkKind::norms, x.count(), 8, bytes(x, y, gamma, beta, mean, rstd));
}

// The sums over rows come first, in a pass of their own.
void CountingBackend::norm_backward(ConstTensor dy, ConstTensor x, ConstTensor gamma, ConstTensor mean, ConstTensor rstd, double flops_each,
                                    double written) {
  sum_columns(WorkKind::norms, x, 5, bytes(dy, x, mean, rstd), 2);
  elements(WorkKind::norms, x.count(), flops_each, bytes(dy, x, gamma, mean, rstd) + written);
}

void CountingBackend::layer_norm_backward(ConstTensor dy, ConstTensor x, ConstTensor gamma, ConstTensor mean, ConstTensor rstd, Tensor dx,
                                          Tensor d_gamma, Tensor d_beta) {
  NullBackend::layer_norm_backward(dy, x, gamma, mean, rstd, dx, d_gamma, d_beta);
  norm_backward(dy, x, gamma, mean, rstd, 14, bytes(dx));
}

void CountingBackend::dropout(const DeviceTexts& texts, ConstTensor x, Dropout dropout, Tensor y) {
  NullBackend::dropout(texts, x, dropout, y);
  elements(WorkKind::norms, x.count(), 1 + drawn(dropout), bytes(x, y));
}

void CountingBackend::residual_layer_norm_forward(const DeviceTexts& texts, ConstTensor residual, ConstTensor branch, Dropout dropout,
                                                  ConstTensor gamma, ConstTensor beta, double eps, Tensor sum, Tensor y, Tensor mean,
                                                  Tensor rstd) {
  NullBackend::residual_layer_norm_forward(texts, residual, branch, dropout, gamma, beta, eps, sum, y, mean, rstd);
  elements(WorkKind::norms, sum.count(), 8 + drawn(dropout), bytes(residual, branch, gamma, beta, sum, y, mean, rstd));
}

void CountingBackend::residual_layer_norm_backward(const DeviceTexts& texts, ConstTensor dy, ConstTensor sum, Dropout dropout,
                                                   ConstTensor gamma, ConstTensor mean, ConstTensor rstd, Tensor d_residual,
                                                   Tensor d_branch, Tensor d_gamma, Tensor d_beta) {
  NullBackend::residual_layer_norm_backward(texts, dy, sum, dropout, gamma, mean, rstd, d_residual, d_branch, d_gamma, d_beta);
  norm_backward(dy, sum, gamma, mean, rstd, 14 + drawn(dropout), bytes(d_residual, d_branch));
}

// ---- activations ------------------------------------------------------------------------------------------------

void CountingBackend::gelu_forward(ConstTensor x, Tensor y) {
  NullBackend::gelu_forward(x, y);
  elements(WorkKind::activations, x.count(), gelu_flops, bytes(x, y));
}

void CountingBackend::gelu_backward(ConstTensor x, ConstTensor dy, Tensor dx) {
  NullBackend::gelu_backward(x, dy, dx);
  elements(WorkKind::activations, x.count(), gelu_flops, bytes(x, dy, dx));
}

void CountingBackend::tanh_forward(ConstTensor x, Tensor y) {
  NullBackend::tanh_forward(x, y);
  elements(WorkKind::activations, x.count(), gelu_flops, bytes(x, y));
}

void CountingBackend::tanh_backward(ConstTensor y, ConstTensor dy, Tensor dx) {
  NullBackend::tanh_backward(y, dy, dx);
  elements(WorkKind::activations, y.count(), 3, bytes(y, dy, dx));
}

// ---- attention --------------------------------------------------------------------------------------------------

// A product of attention has 2 D FLOPs a score: 2 of them forward; backward 7, the scores and d_ctx v^T made twice, and where gradients of
// keys and of values have a kernel each, 8. Backward leaves two numbers a row, or one, between its kernels.
void CountingBackend::attend(const DeviceTexts& texts, ConstTensor ctx, int64_t heads, const Dropout& dropout, Pass pass, double operands) {
  if (texts.tokens() == 0) return;
  const int64_t size = ctx.dim(1) / heads;
  const bool back = pass == Pass::backward, tensor_cores = ctx.dtype() == DType::bf16 && (size == 32 || size == 64 || size == 128);
  const WorkKind kind = back ? WorkKind::attention_backward : WorkKind::attention;
  const double rows = static_cast<double>(texts.tokens() * heads);
  if (tensor_cores && dropout.p > 0) {
    const int64_t groups = (texts.longest + 127) / 128;
    const double bytes_a_row = 16.0 * static_cast<double>(groups);
    elements(kind, texts.tokens() * heads, philox_flops * 8 * bytes_a_row, rows * bytes_a_row);
    operands += (back ? 2 : 1) * rows * bytes_a_row;
  }
  const int64_t kernels = !back ? 1 : tensor_cores && size == 128 ? 3 : 2;
  const double products = !back ? 2 : static_cast<double>(kernels == 3 ? 8 : 7), passes = back ? 2 : 1;
  const double scores = scores_of(texts, tensor_cores ? 16 : 1),
               of_rows = tensor_cores ? 16 : 2.0 * static_cast<double>(size_of(DType::f32));
  work_.push_back({.kind = kind,
                   .dtype = tensor_cores ? DType::bf16 : DType::f32,
                   .product_flops = products * 2 * scores * static_cast<double>(ctx.dim(1)),
                   .other_flops = passes * scores * static_cast<double>(heads) * (exponential + 4 + (tensor_cores ? 0 : drawn(dropout))),
                   .bytes = operands + (back ? of_rows * rows : 0),
                   .launches = kernels});
}

void CountingBackend::attention_forward(const DeviceTexts& texts, ConstTensor qkv, int64_t heads, Dropout dropout, Tensor ctx, Tensor lse) {
  NullBackend::attention_forward(texts, qkv, heads, dropout, ctx, lse);
  attend(texts, ctx, heads, dropout, Pass::forward, bytes(qkv, ctx, lse));
}

void CountingBackend::attention_backward(const DeviceTexts& texts, ConstTensor qkv, ConstTensor ctx, ConstTensor lse, ConstTensor d_ctx,
                                         int64_t heads, Dropout dropout, Tensor d_qkv) {
  NullBackend::attention_backward(texts, qkv, ctx, lse, d_ctx, heads, dropout, d_qkv);
  attend(texts, ctx, heads, dropout, Pass::backward, bytes(qkv, ctx, lse, d_ctx, d_qkv));
}

void CountingBackend::masked_attention_forward(const DeviceTexts& texts, const DeviceMasks& masks, ConstTensor q, ConstTensor kv,
                                               int64_t heads, Dropout dropout, Tensor ctx, Tensor lse) {
  NullBackend::masked_attention_forward(texts, masks, q, kv, heads, dropout, ctx, lse);
  attend(texts, ctx, heads, dropout, Pass::forward, bytes(q, kv, masks.bits, ctx, lse));
}

void CountingBackend::masked_attention_backward(const DeviceTexts& texts, const DeviceMasks& masks, ConstTensor q, ConstTensor kv,
                                                ConstTensor ctx, ConstTensor lse, ConstTensor d_ctx, int64_t heads, Dropout dropout,
                                                Tensor d_q, Tensor d_kv) {
  NullBackend::masked_attention_backward(texts, masks, q, kv, ctx, lse, d_ctx, heads, dropout, d_q, d_kv);
  attend(texts, ctx, heads, dropout, Pass::backward, bytes(q, kv, masks.bits, ctx, lse, d_ctx, d_q, d_kv));
}

// ---- sentence vectors -------------------------------------------------------------------------------------------

void CountingBackend::pool_forward(const DeviceTexts& texts, ConstTensor x, Pooling pooling, Tensor y) {
  NullBackend::pool_forward(texts, x, pooling, y);
  const double rows = pooling == Pooling::mean ? bytes(x) : count(y) * static_cast<double>(size_of(x.dtype()));
  elements(WorkKind::embeddings, y.count(), pooling == Pooling::mean ? 2 * count(x) / count(y) : 1, rows + bytes(y));
}

void CountingBackend::pool_backward(const DeviceTexts& texts, ConstTensor dy, Pooling pooling, Tensor dx) {
  NullBackend::pool_backward(texts, dy, pooling, dx);
  elements(WorkKind::embeddings, dx.count(), 1, bytes(dy, dx));
}

void CountingBackend::l2_normalize_forward(ConstTensor x, Tensor y, Tensor norms) {
  NullBackend::l2_normalize_forward(x, y, norms);
  elements(WorkKind::scores, y.count(), 3, 2 * bytes(y) + bytes(norms));
}

void CountingBackend::l2_normalize_backward(ConstTensor dy, ConstTensor y, ConstTensor norms, Tensor dx) {
  NullBackend::l2_normalize_backward(dy, y, norms, dx);
  elements(WorkKind::scores, y.count(), 6, bytes(dy, y, norms) + 2 * bytes(y));
}

// ---- rows and whole vectors -------------------------------------------------------------------------------------

void CountingBackend::select_rows(ConstTensor x, ConstTensor places, Tensor y) {
  NullBackend::select_rows(x, places, y);
  elements(WorkKind::copies, y.count(), 0, 2 * bytes(y) + bytes(places));
}

void CountingBackend::place_rows(ConstTensor x, ConstTensor places, Tensor y) {
  NullBackend::place_rows(x, places, y);
  elements(WorkKind::copies, x.count(), 0, 2 * bytes(x) + bytes(places));
}

void CountingBackend::adamw(const AdamWStep& step, const std::vector<UpdateRun>& runs, ConstTensor g, Tensor p, Tensor m, Tensor v) {
  NullBackend::adamw(step, runs, g, p, m, v);
  constexpr size_t runs_of_a_kernel = 512;
  int64_t updated = 0;
  for (const UpdateRun& run : runs) updated += run.slice.count();
  elements(WorkKind::update, updated, 14, 7 * static_cast<double>(updated) * static_cast<double>(size_of(g.dtype())),
           static_cast<int64_t>((runs.size() + runs_of_a_kernel - 1) / runs_of_a_kernel));
}

void CountingBackend::sum_squares(ConstTensor x, Tensor total) {
  NullBackend::sum_squares(x, total);
  work_.push_back({.kind = WorkKind::update, .other_flops = 2 * count(x), .bytes = bytes(x), .launches = 2});
}

void CountingBackend::cast(ConstTensor x, Tensor y) {
  NullBackend::cast(x, y);
  elements(WorkKind::copies, x.count(), 0, bytes(x, y));
}

void CountingBackend::axpy(double alpha, ConstTensor x, Tensor y) {
  NullBackend::axpy(alpha, x, y);
  elements(WorkKind::copies, x.count(), 2, bytes(x, y, y));
}

void CountingBackend::scale(double alpha, ConstTensor x, Tensor y) {
  NullBackend::scale(alpha, x, y);
  elements(WorkKind::copies, x.count(), 1, bytes(x, y));
}

void CountingBackend::fill_zero(Tensor x) {
  NullBackend::fill_zero(x);
  elements(WorkKind::copies, x.count(), 0, bytes(x));
}

void CountingBackend::copy(ConstTensor x, Tensor y) {
  NullBackend::copy(x, y);
  elements(WorkKind::copies, x.count(), 0, bytes(x, y));
}

}  // namespace lodestone
