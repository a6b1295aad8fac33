// ReferenceBackend: every operation as plain loops in f64 and f32, the specification that other bodies are tested against.
#pragma once

#include "core/backend.h"

namespace lodestone {

/// One thread, sums in the order of the loops. bf16 is understood by cast, copy, axpy and fill_zero only.
class ReferenceBackend : public Backend {
 public:
  std::string description() const override { return "reference: plain loops, f64 and f32"; }
  int threads() const override { return 1; }
  Memory& memory() override { return memory_; }
  int64_t row_bucket() const override { return 1; }

  void linear(ConstTensor x, ConstTensor weight, ConstTensor bias, Tensor y) override;
  void gemm(Op op_a, ConstTensor a, Op op_b, ConstTensor b, double alpha, double beta, Tensor c) override;
  void column_sums(ConstTensor x, Tensor sums) override;

  void embed_forward(const TokenBatch& tokens, ConstTensor word, ConstTensor position, ConstTensor type, Tensor y) override;
  void embed_backward(const TokenBatch& tokens, ConstTensor dy, Tensor d_word, Tensor d_position, Tensor d_type) override;

  void layer_norm_forward(ConstTensor x, ConstTensor gamma, ConstTensor beta, double eps, Tensor y, Tensor mean, Tensor rstd) override;
  void layer_norm_backward(ConstTensor dy, ConstTensor x, ConstTensor gamma, ConstTensor mean, ConstTensor rstd, Tensor dx, Tensor d_gamma,
                           Tensor d_beta) override;
  void dropout(const TokenBatch& tokens, ConstTensor x, Dropout dropout, Tensor y) override;
  void residual_layer_norm_forward(const TokenBatch& tokens, ConstTensor residual, ConstTensor branch, Dropout dropout, ConstTensor gamma,
                                   ConstTensor beta, double eps, Tensor sum, Tensor y, Tensor mean, Tensor rstd) override;
  void residual_layer_norm_backward(const TokenBatch& tokens, ConstTensor dy, ConstTensor sum, Dropout dropout, ConstTensor gamma,
                                    ConstTensor mean, ConstTensor rstd, Tensor d_residual, Tensor d_branch, Tensor d_gamma,
                                    Tensor d_beta) override;

  void gelu_forward(ConstTensor x, Tensor y) override;
  void gelu_backward(ConstTensor x, ConstTensor dy, Tensor dx) override;
  void tanh_forward(ConstTensor x, Tensor y) override;
  void tanh_backward(ConstTensor y, ConstTensor dy, Tensor dx) override;

  void attention_forward(const TokenBatch& tokens, ConstTensor qkv, int64_t heads, Dropout dropout, Tensor ctx, Tensor lse) override;
  void attention_backward(const TokenBatch& tokens, ConstTensor qkv, ConstTensor ctx, ConstTensor lse, ConstTensor d_ctx, int64_t heads,
                          Dropout dropout, Tensor d_qkv) override;

  void masked_attention_forward(const TokenBatch& tokens, const KeyMasks& masks, ConstTensor q, ConstTensor kv, int64_t heads,
                                Dropout dropout, Tensor ctx, Tensor lse) override;
  void masked_attention_backward(const TokenBatch& tokens, const KeyMasks& masks, ConstTensor q, ConstTensor kv, ConstTensor ctx,
                                 ConstTensor lse, ConstTensor d_ctx, int64_t heads, Dropout dropout, Tensor d_q, Tensor d_kv) override;

  void pool_forward(const TokenBatch& tokens, ConstTensor x, Pooling pooling, Tensor y) override;
  void pool_backward(const TokenBatch& tokens, ConstTensor dy, Pooling pooling, Tensor dx) override;
  void l2_normalize_forward(ConstTensor x, Tensor y, Tensor norms) override;
  void l2_normalize_backward(ConstTensor dy, ConstTensor y, ConstTensor norms, Tensor dx) override;

  void log_sum_exp_rows(ConstTensor x, double scale, Tensor lse) override;
  void softmax_rows(Tensor x, double scale, ConstTensor lse, double weight) override;
  void cross_entropy_forward(ConstTensor logits, std::span<const int32_t> labels, int64_t first, Tensor lse, Tensor target) override;
  void cross_entropy_backward(Tensor logits, std::span<const int32_t> labels, int64_t first, ConstTensor lse, double weight,
                              Tensor d_logits) override;
  void select_rows(ConstTensor x, std::span<const int64_t> places, Tensor y) override;
  void place_rows(ConstTensor x, std::span<const int64_t> places, Tensor y) override;

  void adamw(const AdamWStep& step, ConstTensor g, Tensor p, Tensor m, Tensor v) override;
  double sum_squares(ConstTensor x) override;
  void cast(ConstTensor x, Tensor y) override;
  void axpy(double alpha, ConstTensor x, Tensor y) override;
  void fill_zero(Tensor x) override;
  void copy(ConstTensor x, Tensor y) override;

 private:
  HostMemory memory_;
};

}  // namespace lodestone
