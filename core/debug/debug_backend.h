// DebugBackend: a device on any computer. Its operations run late, in the memory that only they can touch, by the bodies of a CPU backend.
#pragma once

#include <concepts>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "core/backend.h"
#include "core/debug/call_trace.h"
#include "core/debug/fault_report.h"

namespace lodestone {

/// As on a device, operations are enqueued when they are called and run in that order; but nothing runs until synchronize() or wait_for()
/// demands it, so that what reads a result too early always reads poison, and what changes a source too early always is found:
/// - what is downloaded is NaN (all bits set) until the copy has run;
/// - the source of an upload is read when the copy runs, or when the scope ends in which it was called. If it is no longer what it was
///   when the upload was called, the process says so and aborts;
/// - so it does when a scope ends before a download into it has run: the copy would overwrite what comes next there;
/// - what an arena gives out is NaN until something is written there, and again from the end of its scope on;
/// - an operand that lies outside of the memory of this backend is refused when the operation is called: Error (internal);
/// - texts whose tokens lack text_of or place are refused likewise; what these say is compared with the offsets when the operation runs;
/// - with Launches::graphs it fills texts up as a GPU with graphs does, and a stretch that comes again under its name is compared, call by
///   call, with what it was: where a graph would have enqueued something else, or is asked for more than operations, replay() throws Error
///   (internal);
/// - an access of the host to that memory is a fault, reported by FaultReport.
/// Shapes and dtypes are checked by the inner backend, so their errors come out of synchronize() or wait_for(); what is enqueued behind an
/// operation that fails is dropped. Every operation allocates on the host. One thread may call it, and that thread must destroy it; what
/// was taken from its memory must be gone by then. What is still enqueued is then dropped.
class DebugBackend : public Backend, private DebugMemory::Observer {
 public:
  /// `inner` computes in host memory and is done when a call returns. Throws Error (resource, "F14") as DebugMemory does.
  explicit DebugBackend(std::unique_ptr<Backend> inner, Launches launches = Launches::single);
  ~DebugBackend() override;
  DebugBackend(const DebugBackend&) = delete;
  DebugBackend& operator=(const DebugBackend&) = delete;

  std::string description() const override { return cat("debug over ", inner_->description()); }
  int threads() const override { return inner_->threads(); }
  DebugMemory& memory() override { return memory_; }
  Device device() const override { return Device::debug; }
  int64_t row_bucket() const override { return inner_->row_bucket(); }
  bool wants_token_places() const override { return true; }
  bool replays() const override { return launches_ == Launches::graphs; }

  ConstTensor upload(ConstTensor host, Arena& arena) override;
  void upload(ConstTensor host, Tensor to) override;
  ConstTensor download(ConstTensor x, Arena& arena) override;
  void download(ConstTensor x, Tensor host) override;
  void synchronize() override;
  Event record() override;
  void wait_for(Event event) override;
  const Transfers& transfers() const override { return transfers_; }
  void replay(const ReplayName& name, const std::function<void()>& operations) override;

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
  /// An upload or a download under way.
  struct Copy;

  /// What an operation was called with, of which every tensor has been found in the memory.
  class Call {
   public:
    Call(const DebugMemory& memory, const char* name) : memory_(memory), name_(name) {}
    const char* name() const { return name_; }
    std::span<const DebugMemory::Range> tensors() const { return std::span(tensors_).first(count_); }

    /// The next argument. Throws Error (internal) naming it, when a tensor is not empty and not in the memory.
    void argument(ConstTensor x) {
      ++argument_;
      tensor(x, "");
    }
    void argument(const DeviceTexts& texts);
    void argument(const DeviceMasks& masks);
    template <class Scalar>
    requires(!std::convertible_to<Scalar, ConstTensor>) void argument(const Scalar&) { ++argument_; }
    /// The same for a tensor that is part of an argument, or goes by a name of its own.
    void tensor(ConstTensor x, const char* part);

   private:
    const DebugMemory& memory_;
    const char* name_;
    int argument_ = 0;
    std::array<DebugMemory::Range, History::most_operands> tensors_{};
    size_t count_ = 0;
  };

  struct Operation {
    const char* name = "";
    std::function<void()> run;
  };

  template <class... Params, class... Args>
  void enqueue(const char* name, void (Backend::*operation)(Params...), const Args&... args) {
    Call call(memory_, name);
    (call.argument(args), ...);
    if (stretch_ != nullptr) stretch_->push_back(trace_of(name, args...));
    enqueue(call, [this, operation, kept = std::tuple<std::decay_t<Params>...>(args...)] {
      std::apply([&](const auto&... x) { (inner_.get()->*operation)(open(x)...); }, kept);
    });
  }
  void enqueue(const Call& call, std::function<void()> run);
  void enqueue_upload(ConstTensor source, Tensor to, const Arena* arena);
  void enqueue_download(ConstTensor x, Tensor host, const Arena* arena);
  /// `arena`: of the scope in which it was called, or null.
  void enqueue_copy(const Call& call, Copy copy, const Arena* arena);
  void need_no_stretch(const char* verb) const;
  /// Runs what stands before operation `end`.
  void run_until(int64_t end);

  /// Arguments as the inner backend takes them. An empty tensor keeps its address.
  ConstTensor open(ConstTensor x) const { return {x.empty() ? x.bytes() : memory_.open(x.bytes()), x.dtype(), x.shape()}; }
  Tensor open(Tensor x) const { return {x.empty() ? x.bytes() : memory_.open(x.bytes()), x.dtype(), x.shape()}; }
  DeviceTexts open(DeviceTexts texts) const;
  DeviceMasks open(const DeviceMasks& masks) const { return {open(masks.bits), open(masks.first), open(masks.of_row)}; }
  template <class Scalar>
  requires(!std::convertible_to<Scalar, ConstTensor>) const Scalar& open(const Scalar& x) const { return x; }

  void scope_ended(const Arena& arena, DebugMemory::Range released) noexcept override;
  int64_t enqueued() const noexcept override { return history_.enqueued(); }

  DebugMemory memory_;
  History history_;
  const std::unique_ptr<Backend> inner_;
  const Launches launches_;
  std::map<ReplayName, std::vector<CallTrace>> stretches_;  // what came under each name
  std::vector<CallTrace>* stretch_ = nullptr;               // the one that is enqueued now
  Transfers transfers_;
  std::deque<Operation> queue_;                // operations [history_.done(), history_.enqueued())
  std::vector<std::shared_ptr<Copy>> scoped_;  // copies called within a scope of an arena, until they have run or it has ended
  FaultReport report_;
};

}  // namespace lodestone
