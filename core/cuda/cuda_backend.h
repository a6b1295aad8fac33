// CudaBackend: every operation on one NVIDIA GPU. Each theme has a .cu file, whose kernels stand beside the functions that start them.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <array>
#include <memory>
#include <string>

#include "core/backend.h"
#include "core/cuda/attention_plan.h"
#include "core/cuda/cuda_memory.h"
#include "core/cuda/host_wait.h"
#include "core/cuda/upload_stream.h"

namespace lodestone {

namespace cuda {
class AttentionPlans;  // core/cuda/attention_plans.h
class Graphs;          // core/cuda/graphs.h
class Products;        // core/cuda/products.h
}  // namespace cuda

/// f32 with sums in f32 and no TF32; bf16 with sums in f32; f64, in which tests hold it to the reference. Operations are enqueued in one
/// stream, uploads into an arena in another beside it. The same calls give the same bits on the same GPU: no sum depends on which thread
/// comes first. One thread may call it.
class CudaBackend final : public Backend {
 public:
  /// On device number `device` of this process. Throws Error (usage) where there is none, or where `attention` is cudnn and there is no
  /// cuDNN, (resource) where the device fails.
  explicit CudaBackend(int device, AttentionChoice attention = AttentionChoice::automatic, Launches launches = Launches::single);
  ~CudaBackend() override;
  CudaBackend(const CudaBackend&) = delete;
  CudaBackend& operator=(const CudaBackend&) = delete;

  /// "NVIDIA H200, GPU 1 of 4 at 0000:1b:00.0, 141 GB, driver 13.0, CUDA 13.0, cuBLASLt 13.1, attention by cuDNN
  /// 9.19.0 in bf16 without dropout, 24 executions so far": GPUs are numbered from 0, and of executions of cuDNN there may be none yet.
  /// With CUDA graphs what became of them follows.
  std::string description() const override;
  int threads() const override { return 1; }
  Memory& memory() override { return memory_; }
  Device device() const override { return Device::cuda; }
  int64_t row_bucket() const override { return 64; }
  bool wants_token_places() const override { return true; }
  bool wants_rounded_biases() const override { return true; }
  bool replays() const override { return graphs_ != nullptr; }

  ConstTensor upload(ConstTensor host, Arena& arena) override;
  void upload(ConstTensor host, Tensor to) override;
  ConstTensor download(ConstTensor x, Arena& arena) override;
  void download(ConstTensor x, Tensor host) override;
  /// Throws Error (resource, "F47") where an operation has failed, naming the last ones that were enqueued. Where another call meets the
  /// failure first, the error names that call alone.
  void synchronize() override;
  Event record() override;
  void wait_for(Event event) override;
  const Transfers& transfers() const override { return transfers_; }
  void replay(const ReplayName& name, const std::function<void()>& operations) override;

  /// The stream, for an operation of this name, here or in comm/nccl, which finds what was uploaded. operand: the one that says most of its
  /// size.
  cudaStream_t enqueue(const char* operation, ConstTensor operand) {
    note(operation, operand);
    return stream();
  }
  /// The same for what is no operation.
  cudaStream_t stream() {
    uploads_.join();
    return stream_.handle;
  }
  /// Throws as synchronize() where an operation has failed, without waiting for any.
  void require_working() const;
  int gpu() const { return device_; }
  /// How this backend waits from here on.
  void set_wait_loop(cuda::HostWait::Loop loop) { wait_.set_loop(std::move(loop)); }

  void linear(ConstTensor x, ConstTensor weight, ConstTensor bias, Tensor y) override;
  void gemm(Op op_a, ConstTensor a, Op op_b, ConstTensor b, double alpha, double beta, Tensor c) override;
  void column_sums(ConstTensor x, Tensor sums) override;
  void linear_gradients(ConstTensor dy, ConstTensor x, Tensor d_weight, Tensor d_bias) override;
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
  void note(const char* operation, ConstTensor operand) {
    recent_[static_cast<size_t>(enqueued_++) % recent_.size()] = {operation, operand.dtype(), operand.shape()};
  }
  /// Device memory of one operation, 256-byte aligned. What the one before took is overwritten, which stands in front of it in the stream.
  std::byte* scratch(size_t size_bytes);
  /// The same, but null where the device has no memory left for it.
  std::byte* scratch_or_null(size_t size_bytes);
  /// The same for the parts of a sum (device/sum_parts.h).
  double* parts();
  /// attention_forward, or where to_d_qkv is given attention_backward, by a plan of cuDNN: false where there is none for it, and then
  /// nothing was enqueued. operands: all but where the texts lie.
  bool planned_attention(const DeviceTexts& texts, ConstTensor qkv, int64_t heads, const Dropout& dropout,
                         cuda::AttentionOperands operands);
  /// Whether there is anything to upload, which is counted.
  bool count_upload(ConstTensor host, Tensor to);
  void enqueue_download(ConstTensor x, Tensor host);
  /// The Error of work that failed while the host waited for it.
  void check_work(cudaError_t status) const;

  struct Recent {
    const char* operation = "";
    DType dtype{};
    Shape shape{};  // of its operand
  };

  const int device_;
  cuda::HostWait wait_;
  cuda::Stream stream_;  // outlives all that is enqueued there
  cuda::UploadStream uploads_;
  CudaMemory memory_;
  cuda::Staging staging_;
  std::unique_ptr<cuda::Products> products_;
  std::unique_ptr<cuda::AttentionPlans> plans_;
  std::unique_ptr<cuda::Graphs> graphs_;  // null: operation by operation
  std::byte* scratch_ = nullptr;
  size_t scratch_bytes_ = 0;
  int64_t enqueued_ = 0;                   // operations and copies
  std::array<Recent, 16> recent_{};        // the last ones
  std::array<cuda::Marker, 64> recorded_;  // by number of record()
  std::array<int64_t, 64> recorded_at_{};  // what was enqueued by then
  int64_t records_ = 0;
  Transfers transfers_;
};

}  // namespace lodestone
