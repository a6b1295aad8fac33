#include "core/cuda/attention_plans.h"

#include <dlfcn.h>

#include <algorithm>
#include <bit>

#include "core/error.h"
#include "core/own_library.h"

namespace lodestone::cuda {

namespace {

constexpr const char* file_name = "liblodestone_cudnn.so";

/// Workspace is taken behind step memory, of the 512 MiB that are left to libraries (CudaMemory::reservable): half of them. Deterministic
/// backward takes 2 B A T^2 bytes, columns rounded up to 128: 128 MiB for 8,192 tokens in texts of 512 and 16 heads (cudnn_plans).
constexpr size_t most_workspace_bytes = size_t{256} << 20;

/// The next number of the form 2^n or 3 2^n.
int64_t rounded_up(int64_t n) {
  const auto power = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(n, 1))));
  return power >= 4 && n <= power / 4 * 3 ? power / 4 * 3 : power;
}

template <class F>
bool look_up(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(library, name));
  return function != nullptr;
}

}  // namespace

AttentionBucket bucket_of(AttentionWay way, const DeviceTexts& texts, int64_t heads, int64_t head_size) {
  AttentionBucket bucket{
      .way = way, .texts = rounded_up(texts.texts()), .longest = (texts.longest + 63) / 64 * 64, .heads = heads, .head_size = head_size};
  if (way == AttentionWay::backward) bucket.tokens = std::min(rounded_up(texts.tokens()), bucket.texts * bucket.longest);
  return bucket;
}

std::string describe(const AttentionBucket& b) {
  return cat(b.way == AttentionWay::forward ? "forward" : "backward", " of ", b.texts, " texts of ", b.longest, " tokens, ",
             b.tokens > 0 ? cat(b.tokens, " in all, ") : "", b.heads, " heads of ", b.head_size);
}

AttentionPlans::AttentionPlans(AttentionChoice choice) {
  if (choice == AttentionChoice::own) {
    description_ = "own attention";
    return;
  }
  const std::string why_not = open();
  if (why_not.empty()) {
    description_ = cat("attention by cuDNN ", version_, " in bf16 without dropout");
    return;
  }
  if (choice == AttentionChoice::cudnn)
    throw Error(ExitCode::usage, "cudnn", why_not, "set attention: auto or own, or install what is missing (docs/cuda.md)");
  description_ = cat("own attention (", why_not, ")");
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
  return engine_ != nullptr ? std::string() : reason;
}

AttentionPlans::~AttentionPlans() {
  for (const auto& [bucket, planned] : known_)
    if (planned.plan != nullptr) library_.release(planned.plan);
  if (engine_ != nullptr) library_.close(engine_);
}

const PlannedAttention* AttentionPlans::find(const AttentionBucket& bucket) {
  const auto [at, is_new] = known_.try_emplace(bucket);
  PlannedAttention& planned = at->second;
  if (is_new) {
    std::string reason;
    planned.plan = library_.plan(*engine_, bucket, reason);
    if (planned.plan != nullptr) planned.workspace_bytes = library_.workspace_bytes(*planned.plan);
    if (planned.workspace_bytes > most_workspace_bytes) {
      library_.release(planned.plan);
      planned = {};
    }
  }
  return planned.plan != nullptr ? &planned : nullptr;
}

void AttentionPlans::execute(const PlannedAttention& planned, const AttentionBucket& bucket, cudaStream_t stream,
                             const AttentionOperands& operands, void* workspace) {
  std::string reason;
  if (!library_.execute(*planned.plan, stream, operands, workspace, reason))
    throw Error(ExitCode::resource, "F47", cat("attention ", describe(bucket), ": cuDNN says ", reason),
                "start the same command again; if it happens again, test this GPU, or set attention: own");
}

}  // namespace lodestone::cuda
