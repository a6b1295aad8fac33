// ReferenceBackend: every operation as plain loops in f64 and f32, the specification that other bodies are tested against.
#pragma once

#include "core/cpu/host_backend.h"

namespace lodestone {

/// One thread, sums in the order of the loops. bf16 is understood by cast, copy, axpy and fill_zero only.
class ReferenceBackend : public HostBackend {
 public:
  std::string description() const override { return "reference: plain loops, f64 and f32"; }
  int threads() const override { return 1; }
  int64_t row_bucket() const override { return 1; }

  void linear(ConstTensor x, ConstTensor weight, ConstTensor bias, Tensor y) override;
  void gemm(Op op_a, ConstTensor a, Op op_b, ConstTensor b, double alpha, double beta, Tensor c) override;
  void column_sums(ConstTensor x, Tensor sums) override;

  void embed_forward(const DeviceTexts& texts, ConstTensor word, ConstTensor position, ConstTensor type, Tensor y) override;
  void embed_backward(const DeviceTexts& texts, ConstTensor dy, Tensor d_word, Tensor d_position, Tensor d_type) override;

  void layer_norm_forward(ConstTensor x, ConstTensor gamma, ConstTensor beta, double eps, Tensor y, Tensor mean, Tensor rstd) override;
  void layer_norm_backward(ConstTensor dy, ConstTensor x, ConstTensor gamma, ConstTensor mean, ConstTensor rstd, Tensor dx, Tensor d_gamma,
                           Tensor d_beta) override;
  void dropout(const DeviceTexts& texts, ConstTensor x, Dropout dropout, Tensor y) override;
  void residual_layer_norm_forward(const DeviceTexts& texts, ConstTensor residual, ConstTensor branch, Dropout dropout, ConstTensor gamma,
                                   ConstTensor beta, double eps, Tensor sum, Tensor y, Tensor mean, Tensor rstd) override;
  void residual_layer_norm_backward(const DeviceTexts& texts, ConstTensor dy, ConstTensor sum, Dropout dropout, ConstTensor gamma,
                                    ConstTensor mean, ConstTensor rstd, Tensor d_residual, Tensor d_branch, Tensor d_gamma,
                                    Tensor d_beta) override;

  void gelu_forward(ConstTensor x, Tensor y) override;
  void gelu_backward(ConstTensor x, ConstTensor dy, Tensor dx) override;
  void tanh_forward(ConstTensor x, Tensor y) override;
  void tanh_backward(ConstTensor y, ConstTensor dy, Tensor dx) override;

  void attention_forward(const DeviceTexts& texts, ConstTensor qkv, int64_t heads, Dropout dropout, Tensor ctx, Tensor lse) override;
  void attention_backward(const DeviceTexts& texts, ConstTensor qkv, ConstTensor ctx, ConstTensor lse, ConstTensor d_ctx, int64_t heads,
                          Dropout dropout, Tensor d_qkv) override;

  void masked_attention_forward(const DeviceTexts& texts, const DeviceMasks& masks, ConstTensor q, ConstTensor kv, int64_t heads,
                                Dropout dropout, Tensor ctx, Tensor lse) override;
  void masked_attention_backward(const DeviceTexts& texts, const DeviceMasks& masks, ConstTensor q, ConstTensor kv, ConstTensor ctx,
                                 ConstTensor lse, ConstTensor d_ctx, int64_t heads, Dropout dropout, Tensor d_q, Tensor d_kv) override;

  void pool_forward(const DeviceTexts& texts, ConstTensor x, Pooling pooling, Tensor y) override;
  void pool_backward(const DeviceTexts& texts, ConstTensor dy, Pooling pooling, Tensor dx) override;
  void l2_normalize_forward(ConstTensor x, Tensor y, Tensor norms) override;
  void l2_normalize_backward(ConstTensor dy, ConstTensor y, ConstTensor norms, Tensor dx) override;

  void log_sum_exp_rows(ConstTensor x, double scale, Tensor lse) override;
  void softmax_rows(Tensor x, double scale, ConstTensor lse, double weight) override;
  void cross_entropy_forward(ConstTensor logits, ConstTensor labels, int64_t first, Tensor lse, Tensor target) override;
  void cross_entropy_backward(Tensor logits, ConstTensor labels, int64_t first, ConstTensor lse, double weight, Tensor d_logits) override;
  void add_differences(ConstTensor a, ConstTensor b, Tensor total) override;

  void fill_band(Tensor x, Band band, double value) override;
  void add_to_band(Tensor x, Band band, double value) override;
  void read_band(ConstTensor x, Band band, Tensor y) override;
  void write_band(ConstTensor y, Band band, Tensor x) override;
  void add_band_sum(ConstTensor x, Band band, double alpha, Tensor total) override;
  void mask_elements(ConstTensor offsets, ConstTensor columns, Tensor x) override;
  void log_add(ConstTensor part, Tensor total) override;
  void exp_difference(ConstTensor a, ConstTensor b, Tensor y) override;
  void add_log(ConstTensor a, ConstTensor b, Tensor y) override;

  void group_products(ConstTensor rows, ConstTensor columns, Tensor scores) override;
  void group_products_backward(ConstTensor d_scores, ConstTensor rows, ConstTensor columns, Tensor d_rows, Tensor d_columns) override;
  void group_dots(ConstTensor rows, ConstTensor columns, Tensor dots) override;
  void group_dots_backward(ConstTensor d_dots, ConstTensor rows, ConstTensor columns, Tensor d_rows, Tensor d_columns) override;
  void group_loss(const GroupLoss& loss, ConstTensor scores, ConstTensor teacher, double weight, Tensor d_scores, Tensor total) override;
  void group_cascade(ConstTensor scores, ConstTensor order, ConstTensor log_weights, Tensor others, Tensor d_scores, Tensor total) override;
  void cosent(ConstTensor cosines, ConstTensor gold, ConstTensor order, double temperature, double weight, Slice own, Tensor work,
              Tensor d_cosines, Tensor total) override;

  void select_rows(ConstTensor x, ConstTensor places, Tensor y) override;
  void place_rows(ConstTensor x, ConstTensor places, Tensor y) override;

  void adamw(const AdamWStep& step, const std::vector<UpdateRun>& runs, ConstTensor g, Tensor p, Tensor m, Tensor v) override;
  void sum_squares(ConstTensor x, Tensor total) override;
  void cast(ConstTensor x, Tensor y) override;
  void axpy(double alpha, ConstTensor x, Tensor y) override;
  void scale(double alpha, ConstTensor x, Tensor y) override;
  void fill_zero(Tensor x) override;
  void copy(ConstTensor x, Tensor y) override;
};

}  // namespace lodestone
