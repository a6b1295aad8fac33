#include "core/cuda/attention_plans.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>

#include "core/cuda/cuda_call.h"
#include "core/error.h"
#include "core/library_memory.h"
#include "core/own_library.h"
#include "core/round_up.h"

namespace lodestone::cuda {

namespace {

constexpr const char* file_name = "liblodestone_cudnn.so";

/// Workspace is taken behind step memory.
constexpr size_t most_workspace_bytes = left_to_libraries / 2;

/// The next number of the form 2^n or 3 2^n.
int64_t few_bits_up(int64_t n) {
  const auto power = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(n, 1))));
  return power >= 4 && n <= power / 4 * 3 ? power / 4 * 3 : power;
}

/// Why attention by cuDNN is not taken on the present GPU, or nothing: on others than Hopper nobody has seen its plans at work.
std::string why_not_here() {
  int device = 0, major = 0, minor = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "cudaDeviceGetAttribute");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device), "cudaDeviceGetAttribute");
  return major == 9 && minor == 0 ? std::string() : cat("cuDNN is taken on sm_90 only, and this GPU is sm_", major, minor);
}

template <class F>
bool look_up(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(library, name));
  return function != nullptr;
}

}  // namespace

AttentionBucket bucket_of(AttentionWay way, const DeviceTexts& texts, int64_t heads, int64_t head_size, uint32_t dropout) {
  AttentionBucket bucket{.way = way,
                         .texts = few_bits_up(texts.texts()),
                         .longest = round_up(texts.longest, 64),
                         .heads = heads,
                         .head_size = head_size,
                         .dropout = dropout};
  if (way == AttentionWay::backward) bucket.tokens = std::min(round_up(few_bits_up(texts.tokens()), 64), bucket.texts * bucket.longest);
  return bucket;
}

size_t least_workspace_bytes(const AttentionBucket& b) {
  return b.way == AttentionWay::forward ? 0 : static_cast<size_t>(2 * b.texts * b.heads * b.longest * round_up(b.longest, 128));
}

std::string describe(const AttentionBucket& b) {
  return cat(b.way == AttentionWay::forward ? "forward" : "backward", " of ", b.texts, " texts of ", b.longest, " tokens, ",
             b.tokens > 0 ? cat(b.tokens, " in all, ") : "", b.heads, " heads of ", b.head_size,
             b.dropout > 0 ? cat(", dropout ", std::round(b.dropout / 65.536) / 1000) : "");
}

AttentionPlans::AttentionPlans(AttentionChoice choice) : choice_(choice) {
  if (choice == AttentionChoice::own) return;
  why_not_ = why_not_here();
  if (why_not_.empty()) why_not_ = open();
  if (!why_not_.empty() && choice == AttentionChoice::cudnn)
    throw Error(ExitCode::usage, "cudnn", why_not_, "set attention: auto or own, or install what is missing (docs/cuda.md)");
}

std::string AttentionPlans::description() const {
  if (!there()) return why_not_.empty() ? "own attention" : cat("own attention (", why_not_, ")");
  return cat("attention by cuDNN ", version_, " in bf16",
             may_drop() ? ", dropout masks of its own depend on ranks and chunks" : " without dropout",
             executions_ > 0 ? cat(", ", executions_, " executions so far") : std::string());
}

std::string AttentionPlans::open() {
  std::string reason;
  void* const file = open_own_library(file_name, "cuDNN", reason);
  if (file == nullptr) return reason;
  if (!look_up(file, "lodestone_cudnn_open", library_.open) || !look_up(file, "lodestone_cudnn_close", library_.close) ||
      !look_up(file, "lodestone_cudnn_plan", library_.plan) ||
      !look_up(file, "lodestone_cudnn_workspace_bytes", library_.workspace_bytes) ||
      !look_up(file, "lodestone_cudnn_execute", library_.execute) || !look_up(file, "lodestone_cudnn_release", library_.release))
    return cat(file_name, " belongs to another version of this program");
  engine_ = library_.open(version_, reason);
  return engine_ != nullptr ? std::string() : cat("cuDNN does not start: ", reason);
}

AttentionPlans::~AttentionPlans() {
  for (const auto& [bucket, planned] : known_)
    if (planned.plan != nullptr) library_.release(planned.plan);
  if (engine_ != nullptr) library_.close(engine_);
}

const PlannedAttention* AttentionPlans::find(const AttentionBucket& bucket) {
  const auto found = known_.find(bucket);
  if (found != known_.end()) return found->second.plan != nullptr ? &found->second : nullptr;
  const std::string too_much = cat("its plan wants more than ", most_workspace_bytes >> 20, " MiB of workspace");
  if (least_workspace_bytes(bucket) > most_workspace_bytes) {  // known without a second of compiling
    refuse(bucket, too_much);
    return nullptr;
  }
  bool supported = true;
  std::string reason;
  AttentionPlan* const plan = library_.plan(*engine_, bucket, supported, reason);
  if (plan == nullptr && supported) fail(bucket, reason);
  PlannedAttention planned{.plan = plan, .workspace_bytes = plan != nullptr ? library_.workspace_bytes(*plan) : 0};
  if (planned.workspace_bytes > most_workspace_bytes) {
    library_.release(plan);
    planned = {};
    reason = too_much;
  }
  if (planned.plan == nullptr) {
    refuse(bucket, reason);
    return nullptr;
  }
  return &known_.emplace(bucket, planned).first->second;
}

std::optional<size_t> AttentionPlans::workspace_of_both(const AttentionBucket& forward, const AttentionBucket& backward) {
  const PlannedAttention* const first = find(forward);
  const PlannedAttention* const second = first != nullptr ? find(backward) : nullptr;
  if (second != nullptr) return std::max(first->workspace_bytes, second->workspace_bytes);
  say_own(first != nullptr ? forward : backward, "so does the other way, and both must drop the same");
  return std::nullopt;
}

void AttentionPlans::give_back(const AttentionBucket& bucket, const std::string& reason) {
  PlannedAttention& planned = known_.at(bucket);
  library_.release(planned.plan);
  planned = {};
  say_own(bucket, reason);
}

void AttentionPlans::refuse(const AttentionBucket& bucket, const std::string& reason) {
  if (choice_ == AttentionChoice::cudnn && known_.empty())
    throw Error(ExitCode::usage, "cudnn", cat("attention ", describe(bucket), ": cuDNN cannot compute it: ", reason),
                "set attention: auto or own");
  known_.emplace(bucket, PlannedAttention{});
  say_own(bucket, reason);
}

void AttentionPlans::say_own(const AttentionBucket& bucket, const std::string& reason) {
  // Amid a step nobody above is listening. A log needs each reason once, not once for every shape.
  if (said_.emplace(bucket.way, reason).second)
    std::fprintf(stderr, "warning: attention %s goes by own kernels: %s\n", describe(bucket).c_str(), reason.c_str());
}

void AttentionPlans::execute(const PlannedAttention& planned, const AttentionBucket& bucket, cudaStream_t stream,
                             const AttentionOperands& operands, void* workspace) {
  std::string reason;
  if (!library_.execute(*planned.plan, stream, operands, workspace, reason)) fail(bucket, reason);
  ++executions_;
  known_.at(bucket).executed = true;
}

void AttentionPlans::fail(const AttentionBucket& bucket, const std::string& reason) {
  throw Error(ExitCode::resource, "F47", cat("attention ", describe(bucket), ": cuDNN says ", reason),
              "start the same command again; if it happens again, test this GPU, or set attention: own");
}

}  // namespace lodestone::cuda
