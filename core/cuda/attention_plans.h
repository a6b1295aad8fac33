// AttentionPlans: which attention is computed by cuDNN's plans, and how its shapes are rounded so that few plans are made.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "core/backend_kind.h"
#include "core/cuda/attention_plan.h"
#include "core/device_texts.h"

namespace lodestone::cuda {

/// The bucket of these texts. Texts and tokens are rounded up to one of 1, 2, 3, 4, 6, 8, 12, 16, 24, ..., the longest one to a multiple of
/// 64, and tokens to one too, for the workspace's alignment; tokens are not more than the texts could have. Nothing bounds how many buckets
/// a run meets: a plan each way for every 64 tokens of length, and for every number of texts and of tokens that chunks have, rounded.
/// dropout: as the bucket has it.
AttentionBucket bucket_of(AttentionWay way, const DeviceTexts& texts, int64_t heads, int64_t head_size, uint32_t dropout);
/// What a plan needs at least, in bytes: deterministic backward keeps 2 B A T T' bytes of scores, T' the next multiple of 128, B the
/// rounded number of texts (measured by cudnn_plans on a described H200).
size_t least_workspace_bytes(const AttentionBucket& bucket);
/// "backward of 32 texts of 512 tokens, 8192 in all, 12 heads of 64" and, where something is dropped, ", dropout 0.1".
std::string describe(const AttentionBucket& bucket);

/// A plan, and what an execution of it takes.
struct PlannedAttention {
  AttentionPlan* plan = nullptr;
  size_t workspace_bytes = 0;
  bool executed = false;  // at least once
};

/// liblodestone_cudnn.so for one backend, opened where `choice` lets it. A bucket is asked for once: what came of it, a plan or a refusal,
/// is kept. Refused is what cuDNN does not support, and what wants too much workspace; each reason is said once each way, in a line on
/// stderr. What fails otherwise ends the run. One thread may call it.
class AttentionPlans {
 public:
  /// For the present GPU. Throws Error (usage, "cudnn") where the choice is cudnn and the library cannot be opened or is not for this GPU.
  explicit AttentionPlans(AttentionChoice choice);
  ~AttentionPlans();
  AttentionPlans(const AttentionPlans&) = delete;
  AttentionPlans& operator=(const AttentionPlans&) = delete;

  /// "attention by cuDNN 9.19.0 in bf16 without dropout", or where it drops too "in bf16, dropout masks of its own depend on ranks and
  /// chunks", and, where there were any, ", 24 executions so far"; or "own attention" and, unless it was chosen, why.
  std::string description() const;
  bool there() const { return engine_ != nullptr; }
  /// Whether it may be asked for what drops something: only a user who chose cuDNN has chosen its masks.
  bool may_drop() const { return choice_ == AttentionChoice::cudnn; }
  /// Null where own kernels must do. Call only where there() is. Throws Error (resource, "F47") where a plan that cuDNN has could not be
  /// made, (usage, "cudnn") where the choice is cudnn and the first bucket of all is refused.
  const PlannedAttention* find(const AttentionBucket& bucket);
  /// For texts of which something is dropped: the workspace that the larger of both ways takes, or nothing where one of them has no plan,
  /// and then own kernels must do both, which drop other elements. Throws as find() does, and says what goes by own kernels as find() does.
  std::optional<size_t> workspace_of_both(const AttentionBucket& forward, const AttentionBucket& backward);
  /// Releases a plan that was found, and refuses its bucket from here on: own kernels must do.
  void give_back(const AttentionBucket& bucket, const std::string& reason);
  /// Enqueues it. Throws Error (resource, "F47") with the library's reason.
  void execute(const PlannedAttention& planned, const AttentionBucket& bucket, cudaStream_t stream, const AttentionOperands& operands,
               void* workspace);

 private:
  /// Looks the library up. Returns why it cannot be used, or nothing.
  std::string open();
  /// Keeps and says it. Throws as find() does.
  void refuse(const AttentionBucket& bucket, const std::string& reason);
  /// Says on stderr that own kernels do it, once for each reason and way.
  void say_own(const AttentionBucket& bucket, const std::string& reason);
  [[noreturn]] static void fail(const AttentionBucket& bucket, const std::string& reason);

  const AttentionChoice choice_;
  AttentionLibrary library_;
  AttentionEngine* engine_ = nullptr;
  std::string version_, why_not_;
  int64_t executions_ = 0;
  std::set<std::pair<AttentionWay, std::string>> said_;
  std::map<AttentionBucket, PlannedAttention> known_;  // without a plan: refused
};

}  // namespace lodestone::cuda
