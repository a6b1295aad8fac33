// The operations of DebugBackend: each is kept with its arguments until the queue reaches it.
#include "core/debug/debug_backend.h"

namespace lodestone {

void DebugBackend::linear(ConstTensor x, ConstTensor weight, ConstTensor bias, Tensor y) {
  enqueue("linear", &Backend::linear, x, weight, bias, y);
}
void DebugBackend::gemm(Op op_a, ConstTensor a, Op op_b, ConstTensor b, double alpha, double beta, Tensor c) {
  enqueue("gemm", &Backend::gemm, op_a, a, op_b, b, alpha, beta, c);
}
void DebugBackend::column_sums(ConstTensor x, Tensor sums) { enqueue("column_sums", &Backend::column_sums, x, sums); }
void DebugBackend::embed_forward(const DeviceTexts& texts, ConstTensor word, ConstTensor position, ConstTensor type, Tensor y) {
  enqueue("embed_forward", &Backend::embed_forward, texts, word, position, type, y);
}
void DebugBackend::embed_backward(const DeviceTexts& texts, ConstTensor dy, Tensor d_word, Tensor d_position, Tensor d_type) {
  enqueue("embed_backward", &Backend::embed_backward, texts, dy, d_word, d_position, d_type);
}
void DebugBackend::layer_norm_forward(ConstTensor x, ConstTensor gamma, ConstTensor beta, double eps, Tensor y, Tensor mean, Tensor rstd) {
  enqueue("layer_norm_forward", &Backend::layer_norm_forward, x, gamma, beta, eps, y, mean, rstd);
}
void DebugBackend::layer_norm_backward(ConstTensor dy, ConstTensor x, ConstTensor gamma, ConstTensor mean, ConstTensor rstd, Tensor dx,
                                       Tensor d_gamma, Tensor d_beta) {
  enqueue("layer_norm_backward", &Backend::layer_norm_backward, dy, x, gamma, mean, rstd, dx, d_gamma, d_beta);
}
void DebugBackend::dropout(const DeviceTexts& texts, ConstTensor x, Dropout dropout, Tensor y) {
  enqueue("dropout", &Backend::dropout, texts, x, dropout, y);
}
void DebugBackend::residual_layer_norm_forward(const DeviceTexts& texts, ConstTensor residual, ConstTensor branch, Dropout dropout,
                                               ConstTensor gamma, ConstTensor beta, double eps, Tensor sum, Tensor y, Tensor mean,
                                               Tensor rstd) {
  enqueue("residual_layer_norm_forward", &Backend::residual_layer_norm_forward, texts, residual, branch, dropout, gamma, beta, eps, sum, y,
          mean, rstd);
}
void DebugBackend::residual_layer_norm_backward(const DeviceTexts& texts, ConstTensor dy, ConstTensor sum, Dropout dropout,
                                                ConstTensor gamma, ConstTensor mean, ConstTensor rstd, Tensor d_residual, Tensor d_branch,
                                                Tensor d_gamma, Tensor d_beta) {
  enqueue("residual_layer_norm_backward", &Backend::residual_layer_norm_backward, texts, dy, sum, dropout, gamma, mean, rstd, d_residual,
          d_branch, d_gamma, d_beta);
}
void DebugBackend::gelu_forward(ConstTensor x, Tensor y) { enqueue("gelu_forward", &Backend::gelu_forward, x, y); }
void DebugBackend::gelu_backward(ConstTensor x, ConstTensor dy, Tensor dx) { enqueue("gelu_backward", &Backend::gelu_backward, x, dy, dx); }
void DebugBackend::tanh_forward(ConstTensor x, Tensor y) { enqueue("tanh_forward", &Backend::tanh_forward, x, y); }
void DebugBackend::tanh_backward(ConstTensor y, ConstTensor dy, Tensor dx) { enqueue("tanh_backward", &Backend::tanh_backward, y, dy, dx); }
void DebugBackend::attention_forward(const DeviceTexts& texts, ConstTensor qkv, int64_t heads, Dropout dropout, Tensor ctx, Tensor lse) {
  enqueue("attention_forward", &Backend::attention_forward, texts, qkv, heads, dropout, ctx, lse);
}
void DebugBackend::attention_backward(const DeviceTexts& texts, ConstTensor qkv, ConstTensor ctx, ConstTensor lse, ConstTensor d_ctx,
                                      int64_t heads, Dropout dropout, Tensor d_qkv) {
  enqueue("attention_backward", &Backend::attention_backward, texts, qkv, ctx, lse, d_ctx, heads, dropout, d_qkv);
}
void DebugBackend::masked_attention_forward(const DeviceTexts& texts, const DeviceMasks& masks, ConstTensor q, ConstTensor kv,
                                            int64_t heads, Dropout dropout, Tensor ctx, Tensor lse) {
  enqueue("masked_attention_forward", &Backend::masked_attention_forward, texts, masks, q, kv, heads, dropout, ctx, lse);
}
void DebugBackend::masked_attention_backward(const DeviceTexts& texts, const DeviceMasks& masks, ConstTensor q, ConstTensor kv,
                                             ConstTensor ctx, ConstTensor lse, ConstTensor d_ctx, int64_t heads, Dropout dropout,
                                             Tensor d_q, Tensor d_kv) {
  enqueue("masked_attention_backward", &Backend::masked_attention_backward, texts, masks, q, kv, ctx, lse, d_ctx, heads, dropout, d_q,
          d_kv);
}
void DebugBackend::pool_forward(const DeviceTexts& texts, ConstTensor x, Pooling pooling, Tensor y) {
  enqueue("pool_forward", &Backend::pool_forward, texts, x, pooling, y);
}
void DebugBackend::pool_backward(const DeviceTexts& texts, ConstTensor dy, Pooling pooling, Tensor dx) {
  enqueue("pool_backward", &Backend::pool_backward, texts, dy, pooling, dx);
}
void DebugBackend::l2_normalize_forward(ConstTensor x, Tensor y, Tensor norms) {
  enqueue("l2_normalize_forward", &Backend::l2_normalize_forward, x, y, norms);
}
void DebugBackend::l2_normalize_backward(ConstTensor dy, ConstTensor y, ConstTensor norms, Tensor dx) {
  enqueue("l2_normalize_backward", &Backend::l2_normalize_backward, dy, y, norms, dx);
}
void DebugBackend::log_sum_exp_rows(ConstTensor x, double scale, Tensor lse) {
  enqueue("log_sum_exp_rows", &Backend::log_sum_exp_rows, x, scale, lse);
}
void DebugBackend::softmax_rows(Tensor x, double scale, ConstTensor lse, double weight) {
  enqueue("softmax_rows", &Backend::softmax_rows, x, scale, lse, weight);
}
void DebugBackend::cross_entropy_forward(ConstTensor logits, ConstTensor labels, int64_t first, Tensor lse, Tensor target) {
  enqueue("cross_entropy_forward", &Backend::cross_entropy_forward, logits, labels, first, lse, target);
}
void DebugBackend::cross_entropy_backward(Tensor logits, ConstTensor labels, int64_t first, ConstTensor lse, double weight,
                                          Tensor d_logits) {
  enqueue("cross_entropy_backward", &Backend::cross_entropy_backward, logits, labels, first, lse, weight, d_logits);
}
void DebugBackend::add_differences(ConstTensor a, ConstTensor b, Tensor total) {
  enqueue("add_differences", &Backend::add_differences, a, b, total);
}
void DebugBackend::fill_band(Tensor x, Band band, double value) { enqueue("fill_band", &Backend::fill_band, x, band, value); }
void DebugBackend::add_to_band(Tensor x, Band band, double value) { enqueue("add_to_band", &Backend::add_to_band, x, band, value); }
void DebugBackend::read_band(ConstTensor x, Band band, Tensor y) { enqueue("read_band", &Backend::read_band, x, band, y); }
void DebugBackend::write_band(ConstTensor y, Band band, Tensor x) { enqueue("write_band", &Backend::write_band, y, band, x); }
void DebugBackend::add_band_sum(ConstTensor x, Band band, double alpha, Tensor total) {
  enqueue("add_band_sum", &Backend::add_band_sum, x, band, alpha, total);
}
void DebugBackend::mask_elements(ConstTensor offsets, ConstTensor columns, Tensor x) {
  enqueue("mask_elements", &Backend::mask_elements, offsets, columns, x);
}
void DebugBackend::log_add(ConstTensor part, Tensor total) { enqueue("log_add", &Backend::log_add, part, total); }
void DebugBackend::exp_difference(ConstTensor a, ConstTensor b, Tensor y) { enqueue("exp_difference", &Backend::exp_difference, a, b, y); }
void DebugBackend::add_log(ConstTensor a, ConstTensor b, Tensor y) { enqueue("add_log", &Backend::add_log, a, b, y); }
void DebugBackend::group_products(ConstTensor rows, ConstTensor columns, Tensor scores) {
  enqueue("group_products", &Backend::group_products, rows, columns, scores);
}
void DebugBackend::group_products_backward(ConstTensor d_scores, ConstTensor rows, ConstTensor columns, Tensor d_rows, Tensor d_columns) {
  enqueue("group_products_backward", &Backend::group_products_backward, d_scores, rows, columns, d_rows, d_columns);
}
void DebugBackend::group_dots(ConstTensor rows, ConstTensor columns, Tensor dots) {
  enqueue("group_dots", &Backend::group_dots, rows, columns, dots);
}
void DebugBackend::group_dots_backward(ConstTensor d_dots, ConstTensor rows, ConstTensor columns, Tensor d_rows, Tensor d_columns) {
  enqueue("group_dots_backward", &Backend::group_dots_backward, d_dots, rows, columns, d_rows, d_columns);
}
void DebugBackend::group_loss(const GroupLoss& loss, ConstTensor scores, ConstTensor teacher, double weight, Tensor d_scores,
                              Tensor total) {
  enqueue("group_loss", &Backend::group_loss, loss, scores, teacher, weight, d_scores, total);
}
void DebugBackend::group_cascade(ConstTensor scores, ConstTensor order, ConstTensor log_weights, Tensor others, Tensor d_scores,
                                 Tensor total) {
  enqueue("group_cascade", &Backend::group_cascade, scores, order, log_weights, others, d_scores, total);
}
void DebugBackend::cosent(ConstTensor cosines, ConstTensor gold, ConstTensor order, double temperature, double weight, Slice own,
                          Tensor work, Tensor d_cosines, Tensor total) {
  enqueue("cosent", &Backend::cosent, cosines, gold, order, temperature, weight, own, work, d_cosines, total);
}
void DebugBackend::select_rows(ConstTensor x, ConstTensor places, Tensor y) { enqueue("select_rows", &Backend::select_rows, x, places, y); }
void DebugBackend::place_rows(ConstTensor x, ConstTensor places, Tensor y) { enqueue("place_rows", &Backend::place_rows, x, places, y); }
void DebugBackend::adamw(const AdamWStep& step, const std::vector<UpdateRun>& runs, ConstTensor g, Tensor p, Tensor m, Tensor v) {
  enqueue("adamw", &Backend::adamw, step, runs, g, p, m, v);
}
void DebugBackend::sum_squares(ConstTensor x, Tensor total) { enqueue("sum_squares", &Backend::sum_squares, x, total); }
void DebugBackend::cast(ConstTensor x, Tensor y) { enqueue("cast", &Backend::cast, x, y); }
void DebugBackend::axpy(double alpha, ConstTensor x, Tensor y) { enqueue("axpy", &Backend::axpy, alpha, x, y); }
void DebugBackend::scale(double alpha, ConstTensor x, Tensor y) { enqueue("scale", &Backend::scale, alpha, x, y); }
void DebugBackend::fill_zero(Tensor x) { enqueue("fill_zero", &Backend::fill_zero, x); }
void DebugBackend::copy(ConstTensor x, Tensor y) { enqueue("copy", &Backend::copy, x, y); }
}  // namespace lodestone
