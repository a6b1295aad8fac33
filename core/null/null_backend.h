// NullBackend: every operation checks its shapes and does nothing else; a run on it counts the memory that another backend would need.
#pragma once

#include <memory>
#include <vector>

#include "core/buffer.h"
#include "core/null/null_memory.h"
#include "core/scratch_model.h"

namespace lodestone {

/// Whether scratch_bytes() is wanted. Counting asks the modelled backend's libraries, which may prepare themselves for each new shape.
enum class ScratchCount : uint8_t { wanted, left_out };

/// What a null backend is told of the one that it stands for, where that one is not there.
struct ModelledBackend {
  std::string description;
  int threads = 1;
  int64_t row_bucket = 1;
  bool wants_token_places = false, wants_rounded_biases = false;
  bool replays = false;
  bool on_host = false;  // it computes in the host's memory
};

/// Stands for `modelled`: the same row bucket, threads, token places and biases, the same takes from an arena. After the same calls an
/// arena of its memory has the peak of one of the modelled backend's, and scratch_bytes() is what the modelled backend would hold. Operands
/// may lie on Device::null or on the CPU; no operation reads or writes them. What lies on the CPU is downloaded as it is, all else as
/// zeros. One thread at a time may call it.
class NullBackend : public Backend {
 public:
  /// The modelled backend is only asked what it is like, and need not live on.
  explicit NullBackend(const Backend& modelled, ScratchCount scratch = ScratchCount::wanted);
  /// For one that keeps no memory for itself.
  explicit NullBackend(ModelledBackend modelled);

  std::string description() const override { return modelled_.description; }
  int threads() const override { return modelled_.threads; }
  Memory& memory() override { return memory_; }
  Device device() const override { return Device::null; }
  int64_t row_bucket() const override { return modelled_.row_bucket; }
  bool wants_token_places() const override { return modelled_.wants_token_places; }
  bool wants_rounded_biases() const override { return modelled_.wants_rounded_biases; }
  bool replays() const override { return modelled_.replays; }

  /// Bytes allocated outside arenas: buffers of parameters, gradients and moments.
  size_t allocated_bytes() const { return memory_.allocated_bytes(); }
  /// Bytes that the modelled backend would hold beside arenas and buffers by now: what it held when this one was made, and its growth.
  size_t scratch_bytes() const { return scratch_->held_bytes(); }

  /// A view that takes nothing where the modelled backend computes in the host's memory; elsewhere it takes a tensor of `arena`.
  ConstTensor upload(ConstTensor host, Arena& arena) override;
  void upload(ConstTensor host, Tensor to) override;
  /// Zeros on the host. They take nothing from `arena` and stay as long as this backend where the modelled one computes in the host's
  /// memory; elsewhere they take an array of `arena`.
  ConstTensor download(ConstTensor x, Arena& arena) override;
  void download(ConstTensor x, Tensor host) override;
  void synchronize() override { ++transfers_.waits; }
  Event record() override { return {}; }
  void wait_for(Event) override { ++transfers_.waits; }
  const Transfers& transfers() const override { return transfers_; }

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

 private:
  /// Zeros that are never written, `size_bytes` or more.
  const std::byte* zeros(size_t size_bytes);

  ModelledBackend modelled_;
  std::unique_ptr<ScratchModel> scratch_;
  NullMemory memory_;
  HostMemory host_memory_;
  std::vector<Buffer> zeros_;  // each larger than those before; all downloads read the last, and older ones stay where they are
  Transfers transfers_;
};

}  // namespace lodestone
