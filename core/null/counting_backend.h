// CountingBackend: a null backend that writes down what each operation would ask of a GPU: FLOPs, bytes, launches.
#pragma once

#include <span>
#include <vector>

#include "core/checks.h"
#include "core/null/null_backend.h"
#include "core/null/work.h"

namespace lodestone {

/// Stands for CudaBackend, with attention by own kernels, and needs neither a GPU nor its library. Each operation adds what the files of
/// core/cuda count at their heads: bytes as they go through memory (what a kernel reads again is cached as its head says), 2 M N K FLOPs a
/// product, launches as CudaBackend makes them where cuBLASLt has the epilogues that it is asked for. `CudaLaunches.*` holds the launches
/// to those of the real backend.
///
/// Attention in bf16 with heads of 32, 64 or 128 goes by tensor cores, whose rows and keys come 16 at a time: 4 T D FLOPs a row and head
/// forward and 14 T D backward (16 T D for heads of 128), T rounded up to 16; operands and results count once, what dropout keeps is a bit
/// a score that a kernel writes and others read. All other attention has the same FLOPs without tensor cores. Not counted: what comes from
/// the cache, the rows of embedding tables that a chunk's words add to, ids that embed_backward reads, and that two threads of CoSENT go
/// along its order.
///
/// Uploads stay readable on the host, since attention's FLOPs depend on how long each text is; they take from the arena what a copy takes.
class CountingBackend final : public NullBackend {
 public:
  /// With Launches::graphs every stretch is a graph that was recorded before: a step of a run that has met its shapes.
  explicit CountingBackend(Launches launches = Launches::single);

  /// In the order in which it was asked for.
  std::span<const Work> work() const { return work_; }
  /// What somebody else asks of the GPU, a communicator for example.
  void note(const Work& work) { work_.push_back(work); }

  bool replays() const override { return launches_ == Launches::graphs; }
  void replay(const ReplayName& name, const std::function<void()>& operations) override;

  ConstTensor upload(ConstTensor host, Arena& arena) override;
  void upload(ConstTensor host, Tensor to) override;
  void synchronize() override;
  void wait_for(Event event) override;

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
  enum class Pass : uint8_t { forward, backward };

  /// One kernel, or several, over so many elements; none where there are none.
  void elements(WorkKind kind, int64_t count, double flops_each, double bytes, int64_t launches = 1);
  /// The two kernels of so many sums over the rows of x, which read so many bytes beside their own.
  void sum_columns(WorkKind kind, ConstTensor x, double flops_each, double bytes, int64_t sums = 1);
  /// The kernels of a norm's way back, of which the last writes so many bytes.
  void norm_backward(ConstTensor dy, ConstTensor x, ConstTensor gamma, ConstTensor mean, ConstTensor rstd, double flops_each,
                     double written);
  /// The two kernels of a sum in double.
  void sum(double flops, double bytes);
  void product(DType dtype, const checks::ProductDims& dims, double bytes, int64_t launches);
  /// Rows of ctx [S,H]; `operands` is the bytes of operands and results.
  void attend(const DeviceTexts& texts, ConstTensor ctx, int64_t heads, const Dropout& dropout, Pass pass, double operands);

  const Launches launches_;
  std::vector<Work> work_;
};

}  // namespace lodestone
