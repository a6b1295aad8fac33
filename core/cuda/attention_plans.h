// AttentionPlans: which attention is computed by cuDNN's plans, and how its shapes are rounded so that few plans are made.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "core/backend_kind.h"
#include "core/cuda/attention_plan.h"
#include "core/device_texts.h"

namespace lodestone::cuda {

/// The bucket of these texts. Texts and tokens are rounded up to one of 1, 2, 3, 4, 6, 8, 12, 16, 24, ..., the longest one to a multiple of
/// 64; tokens are not more than the texts could have. So chunks of one size need about a plan each way for every 64 tokens of length.
AttentionBucket bucket_of(AttentionWay way, const DeviceTexts& texts, int64_t heads, int64_t head_size);
/// "backward of 32 texts of 512 tokens, 8192 in all, 12 heads of 64".
std::string describe(const AttentionBucket& bucket);

/// A plan, and what an execution of it takes.
struct PlannedAttention {
  AttentionPlan* plan = nullptr;
  size_t workspace_bytes = 0;
};

/// liblodestone_cudnn.so for one backend, opened where `choice` lets it. A bucket is asked for once: what came of it, a plan or a refusal,
/// is kept. One thread may call it.
class AttentionPlans {
 public:
  /// Throws Error (usage, "cudnn") where the choice is cudnn and the library cannot be opened.
  explicit AttentionPlans(AttentionChoice choice);
  ~AttentionPlans();
  AttentionPlans(const AttentionPlans&) = delete;
  AttentionPlans& operator=(const AttentionPlans&) = delete;

  /// "attention by cuDNN 9.19.0 in bf16 without dropout", or "own attention" and, unless it was chosen, why.
  const std::string& description() const { return description_; }
  bool there() const { return engine_ != nullptr; }
  /// Null where own kernels must do. Call only where there() is.
  const PlannedAttention* find(const AttentionBucket& bucket);
  /// Enqueues it. Throws Error (resource, "F47") with the library's reason.
  void execute(const PlannedAttention& planned, const AttentionBucket& bucket, cudaStream_t stream, const AttentionOperands& operands,
               void* workspace);

 private:
  /// Looks the library up. Returns why it cannot be used, or nothing.
  std::string open();

  AttentionLibrary library_;
  AttentionEngine* engine_ = nullptr;
  std::string version_, description_;
  std::map<AttentionBucket, PlannedAttention> known_;  // without a plan: refused
};

}  // namespace lodestone::cuda
