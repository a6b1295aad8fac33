#include "core/null/null_backend.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/checks.h"

namespace lodestone {

namespace {

/// Bytes that travel from one to the other; none where they are one.
int64_t copied_bytes(const char* verb, ConstTensor from, ConstTensor to) {
  checks::shape(verb, "the target", to, from.shape());
  checks::dtype(verb, "the target", to, from.dtype());
  return from.empty() || from.bytes() == to.bytes() ? 0 : static_cast<int64_t>(from.size_bytes());
}

}  // namespace

NullBackend::NullBackend(const Backend& modelled, ScratchCount scratch)
    : modelled_{.description = cat("null: counts the memory of ", modelled.description()),
                .threads = modelled.threads(),
                .row_bucket = modelled.row_bucket(),
                .wants_token_places = modelled.wants_token_places(),
                .wants_rounded_biases = modelled.wants_rounded_biases(),
                .replays = modelled.replays(),
                .on_host = modelled.device() == Device::cpu},
      scratch_(scratch == ScratchCount::wanted ? modelled.scratch_model() : std::make_unique<ScratchModel>()) {}

NullBackend::NullBackend(ModelledBackend modelled) : modelled_(std::move(modelled)), scratch_(std::make_unique<ScratchModel>()) {}

// ---- place and time ---------------------------------------------------------------------------------------------

ConstTensor NullBackend::upload(ConstTensor host, Arena& arena) {
  ++transfers_.uploads;
  if (modelled_.on_host) return host;
  transfers_.copied_bytes += static_cast<int64_t>(host.size_bytes());
  return arena.tensor(host.dtype(), host.shape());
}

void NullBackend::upload(ConstTensor host, Tensor to) {
  ++transfers_.uploads;
  transfers_.copied_bytes += copied_bytes("upload", host, to);
}

ConstTensor NullBackend::download(ConstTensor x, Arena& arena) {
  ++transfers_.downloads;
  if (x.device() == Device::cpu) return x;
  if (modelled_.on_host) return {zeros(x.size_bytes()), x.dtype(), x.shape()};
  transfers_.copied_bytes += static_cast<int64_t>(x.size_bytes());
  const std::span<std::byte> host = arena.array<std::byte>(static_cast<int64_t>(x.size_bytes()));
  std::fill(host.begin(), host.end(), std::byte{0});
  return {host.data(), x.dtype(), x.shape()};
}

void NullBackend::download(ConstTensor x, Tensor host) {
  ++transfers_.downloads;
  const int64_t bytes = copied_bytes("download", x, host);
  transfers_.copied_bytes += bytes;
  if (bytes == 0) return;
  if (x.device() == Device::cpu)
    std::memcpy(host.bytes(), x.bytes(), x.size_bytes());
  else
    std::memset(host.bytes(), 0, host.size_bytes());
}

const std::byte* NullBackend::zeros(size_t size_bytes) {
  const size_t held = zeros_.empty() ? 0 : zeros_.back().size_bytes();
  if (zeros_.empty() || size_bytes > held) zeros_.emplace_back(host_memory_, std::max({size_bytes, 2 * held, size_t{4096}}));
  return zeros_.back().data();
}

// ---- products ---------------------------------------------------------------------------------------------------

void NullBackend::linear(ConstTensor x, ConstTensor weight, ConstTensor bias, Tensor y) {
  checks::linear(x, weight, bias, y, wants_rounded_biases() ? checks::Biases::wide_or_rounded : checks::Biases::wide);
  scratch_->linear(x, weight, bias, y);
}

void NullBackend::gemm(Op op_a, ConstTensor a, Op op_b, ConstTensor b, double alpha, double beta, Tensor c) {
  checks::gemm(op_a, a, op_b, b, c);
  scratch_->gemm(op_a, a, op_b, b, alpha, beta, c);
}

void NullBackend::column_sums(ConstTensor x, Tensor sums) { checks::column_sums(x, sums); }

// ---- embeddings, normalisation and dropout ----------------------------------------------------------------------

void NullBackend::embed_forward(const DeviceTexts& texts, ConstTensor word, ConstTensor position, ConstTensor type, Tensor y) {
  checks::embed("embed_forward", texts, checks::wide(y.dtype()), word, position, type, y);
}

void NullBackend::embed_backward(const DeviceTexts& texts, ConstTensor dy, Tensor d_word, Tensor d_position, Tensor d_type) {
  checks::embed("embed_backward", texts, checks::wide(dy.dtype()), d_word, d_position, d_type, dy);
}

void NullBackend::layer_norm_forward(ConstTensor x, ConstTensor gamma, ConstTensor beta, double, Tensor y, Tensor mean, Tensor rstd) {
  checks::layer_norm_forward(x, gamma, beta, y, mean, rstd);
}

void NullBackend::layer_norm_backward(ConstTensor dy, ConstTensor x, ConstTensor gamma, ConstTensor mean, ConstTensor rstd, Tensor dx,
                                      Tensor d_gamma, Tensor d_beta) {
  checks::layer_norm_backward(dy, x, gamma, mean, rstd, dx, d_gamma, d_beta);
  scratch_->norm_backward(x);
}

void NullBackend::dropout(const DeviceTexts& texts, ConstTensor x, Dropout dropout, Tensor y) {
  checks::token_rows("dropout", "x", texts, x);
  checks::same("dropout", "y", x, y);
  checks::dropout("dropout", texts, dropout);
}

void NullBackend::residual_layer_norm_forward(const DeviceTexts& texts, ConstTensor residual, ConstTensor branch, Dropout dropout,
                                              ConstTensor gamma, ConstTensor beta, double, Tensor sum, Tensor y, Tensor mean, Tensor rstd) {
  const char* op = "residual_layer_norm_forward";
  checks::token_rows(op, "branch", texts, branch);
  checks::same(op, "residual", branch, residual);
  checks::same(op, "sum", branch, sum);
  checks::layer_norm_forward(sum, gamma, beta, y, mean, rstd);
  checks::dropout(op, texts, dropout);
}

void NullBackend::residual_layer_norm_backward(const DeviceTexts& texts, ConstTensor dy, ConstTensor sum, Dropout dropout,
                                               ConstTensor gamma, ConstTensor mean, ConstTensor rstd, Tensor d_residual, Tensor d_branch,
                                               Tensor d_gamma, Tensor d_beta) {
  const char* op = "residual_layer_norm_backward";
  checks::token_rows(op, "sum", texts, sum);
  checks::layer_norm_backward(dy, sum, gamma, mean, rstd, d_residual, d_gamma, d_beta);
  checks::same(op, "d_branch", sum, d_branch);
  checks::dropout(op, texts, dropout);
  scratch_->norm_backward(sum);
}

// ---- activations ------------------------------------------------------------------------------------------------

void NullBackend::gelu_forward(ConstTensor x, Tensor y) { checks::same("gelu_forward", "y", x, y); }

void NullBackend::gelu_backward(ConstTensor x, ConstTensor dy, Tensor dx) {
  checks::same("gelu_backward", "dy", x, dy);
  checks::same("gelu_backward", "dx", x, dx);
}

void NullBackend::tanh_forward(ConstTensor x, Tensor y) { checks::same("tanh_forward", "y", x, y); }

void NullBackend::tanh_backward(ConstTensor y, ConstTensor dy, Tensor dx) {
  checks::same("tanh_backward", "dy", y, dy);
  checks::same("tanh_backward", "dx", y, dx);
}

// ---- attention --------------------------------------------------------------------------------------------------

void NullBackend::attention_forward(const DeviceTexts& texts, ConstTensor qkv, int64_t heads, Dropout dropout, Tensor ctx, Tensor lse) {
  checks::attention("attention_forward", texts, qkv, heads, dropout, ctx, lse);
  scratch_->attention(texts, ctx, heads);
}

void NullBackend::attention_backward(const DeviceTexts& texts, ConstTensor qkv, ConstTensor ctx, ConstTensor lse, ConstTensor d_ctx,
                                     int64_t heads, Dropout dropout, Tensor d_qkv) {
  const char* op = "attention_backward";
  checks::attention(op, texts, qkv, heads, dropout, ctx, lse);
  checks::same(op, "d_ctx", ctx, d_ctx);
  checks::same(op, "d_qkv", qkv, d_qkv);
  scratch_->attention(texts, ctx, heads);
}

void NullBackend::masked_attention_forward(const DeviceTexts& texts, const DeviceMasks& masks, ConstTensor q, ConstTensor kv, int64_t heads,
                                           Dropout dropout, Tensor ctx, Tensor lse) {
  checks::masked_attention("masked_attention_forward", texts, masks, q, kv, heads, dropout, ctx, lse);
  scratch_->attention(texts, ctx, heads);
}

void NullBackend::masked_attention_backward(const DeviceTexts& texts, const DeviceMasks& masks, ConstTensor q, ConstTensor kv,
                                            ConstTensor ctx, ConstTensor lse, ConstTensor d_ctx, int64_t heads, Dropout dropout, Tensor d_q,
                                            Tensor d_kv) {
  const char* op = "masked_attention_backward";
  checks::masked_attention(op, texts, masks, q, kv, heads, dropout, ctx, lse);
  checks::same(op, "d_ctx", ctx, d_ctx);
  checks::same(op, "d_q", q, d_q);
  checks::same(op, "d_kv", kv, d_kv);
  scratch_->attention(texts, ctx, heads);
}

// ---- sentence vectors -------------------------------------------------------------------------------------------

void NullBackend::pool_forward(const DeviceTexts& texts, ConstTensor x, Pooling, Tensor y) { checks::pool("pool_forward", texts, x, y); }

void NullBackend::pool_backward(const DeviceTexts& texts, ConstTensor dy, Pooling, Tensor dx) {
  checks::pool("pool_backward", texts, dx, dy);
}

void NullBackend::l2_normalize_forward(ConstTensor x, Tensor y, Tensor norms) { checks::l2_normalize("l2_normalize_forward", x, y, norms); }

void NullBackend::l2_normalize_backward(ConstTensor dy, ConstTensor y, ConstTensor norms, Tensor dx) {
  checks::l2_normalize("l2_normalize_backward", dx, y, norms);
  checks::same("l2_normalize_backward", "dy", y, dy);
}

// ---- losses -----------------------------------------------------------------------------------------------------

void NullBackend::log_sum_exp_rows(ConstTensor x, double, Tensor lse) { checks::row_statistic("log_sum_exp_rows", x, lse); }

void NullBackend::softmax_rows(Tensor x, double, ConstTensor lse, double) { checks::row_statistic("softmax_rows", x, lse); }

void NullBackend::cross_entropy_forward(ConstTensor logits, ConstTensor labels, int64_t, Tensor lse, Tensor target) {
  checks::cross_entropy("cross_entropy_forward", logits, labels, lse);
  checks::row_statistic("cross_entropy_forward", logits, target);
}

void NullBackend::cross_entropy_backward(Tensor logits, ConstTensor labels, int64_t, ConstTensor lse, double, Tensor d_logits) {
  const char* op = "cross_entropy_backward";
  checks::cross_entropy(op, logits, labels, lse);
  checks::shape(op, "d_logits", d_logits, logits.shape());
  if (d_logits.dtype() != DType::bf16) checks::dtype(op, "d_logits", d_logits, logits.dtype());
}

void NullBackend::add_differences(ConstTensor a, ConstTensor b, Tensor total) {
  checks::alike("add_differences", a, b);
  checks::total("add_differences", total);
}

// ---- matrices of scores -----------------------------------------------------------------------------------------

void NullBackend::fill_band(Tensor x, Band band, double) { checks::band("fill_band", x, band); }
void NullBackend::add_to_band(Tensor x, Band band, double) { checks::band("add_to_band", x, band); }
void NullBackend::read_band(ConstTensor x, Band band, Tensor y) { checks::band_values("read_band", x, band, y); }
void NullBackend::write_band(ConstTensor y, Band band, Tensor x) { checks::band_values("write_band", x, band, y); }

void NullBackend::add_band_sum(ConstTensor x, Band band, double, Tensor total) {
  checks::band("add_band_sum", x, band);
  checks::total("add_band_sum", total);
}

void NullBackend::mask_elements(ConstTensor offsets, ConstTensor columns, Tensor x) {
  checks::masked_elements("mask_elements", offsets, columns, x);
}

void NullBackend::log_add(ConstTensor part, Tensor total) { checks::alike("log_add", part, total); }

void NullBackend::exp_difference(ConstTensor a, ConstTensor b, Tensor y) {
  checks::alike("exp_difference", a, b);
  checks::alike("exp_difference", a, y);
}

void NullBackend::add_log(ConstTensor a, ConstTensor b, Tensor y) {
  checks::alike("add_log", a, b);
  checks::alike("add_log", a, y);
}

// ---- a query and its own group of passages ----------------------------------------------------------------------

void NullBackend::group_products(ConstTensor rows, ConstTensor columns, Tensor scores) {
  checks::groups("group_products", rows, columns, scores, rows.dtype());
}

void NullBackend::group_products_backward(ConstTensor d_scores, ConstTensor rows, ConstTensor columns, Tensor d_rows, Tensor d_columns) {
  checks::groups("group_products_backward", rows, columns, d_scores, rows.dtype());
  checks::groups("group_products_backward", d_rows, d_columns, d_scores, rows.dtype());
}

void NullBackend::group_dots(ConstTensor rows, ConstTensor columns, Tensor dots) {
  checks::groups("group_dots", rows, columns, dots, DType::f64);
}

void NullBackend::group_dots_backward(ConstTensor d_dots, ConstTensor rows, ConstTensor columns, Tensor d_rows, Tensor d_columns) {
  checks::groups("group_dots_backward", rows, columns, d_dots, DType::f64);
  checks::groups("group_dots_backward", d_rows, d_columns, d_dots, DType::f64);
}

void NullBackend::group_loss(const GroupLoss& loss, ConstTensor scores, ConstTensor teacher, double, Tensor d_scores, Tensor total) {
  checks::group_loss(loss, scores, teacher, d_scores, total);
}

void NullBackend::group_cascade(ConstTensor scores, ConstTensor order, ConstTensor log_weights, Tensor others, Tensor d_scores,
                                Tensor total) {
  checks::group_cascade(scores, order, log_weights, others, d_scores, total);
}

void NullBackend::cosent(ConstTensor cosines, ConstTensor gold, ConstTensor order, double, double, Slice own, Tensor work, Tensor d_cosines,
                         Tensor total) {
  checks::cosent(cosines, gold, order, own, work, d_cosines, total);
}

// ---- rows and whole vectors -------------------------------------------------------------------------------------

void NullBackend::select_rows(ConstTensor x, ConstTensor places, Tensor y) { checks::chosen_rows("select_rows", x, places, y); }
void NullBackend::place_rows(ConstTensor x, ConstTensor places, Tensor y) { checks::chosen_rows("place_rows", y, places, x); }

void NullBackend::adamw(const AdamWStep& step, const std::vector<UpdateRun>& runs, ConstTensor g, Tensor p, Tensor m, Tensor v) {
  checks::adamw(step, runs, g, p, m, v);
}

void NullBackend::sum_squares(ConstTensor x, Tensor total) {
  checks::total("sum_squares", total);
  scratch_->sum_squares(x);
}

void NullBackend::cast(ConstTensor x, Tensor y) { checks::shape("cast", "y", y, x.shape()); }
void NullBackend::axpy(double, ConstTensor x, Tensor y) { checks::same("axpy", "y", x, y); }
void NullBackend::scale(double, ConstTensor x, Tensor y) { checks::alike("scale", x, y); }
void NullBackend::fill_zero(Tensor) {}

void NullBackend::copy(ConstTensor x, Tensor y) {
  checks::shape("copy", "y", y, x.shape());
  checks::dtype("copy", "y", y, x.dtype());
}

}  // namespace lodestone
