// Attention without masks in bf16 by a plan of cuDNN (attention_plans.h). The one kernel here says where texts lie, in a thread for each
// text: 16 bytes read and 28 written a text; and from what cuDNN draws, where something is dropped.
#include <bit>
#include <initializer_list>
#include <optional>

#include "core/cuda/attention_plans.h"
#include "core/cuda/cuda_backend.h"
#include "core/cuda/device/launch.h"
#include "core/cuda/device/values.h"
#include "core/cuda/graphs.h"

namespace lodestone {

namespace {

using namespace cuda;

constexpr int block_threads = 128;

/// The numbers that cuDNN draws a chunk's dropout from. A text is in one chunk of a step, so its first text names a chunk: the mask is the
/// same whenever the same texts pass the same layer in the same step, and another one for other chunks, layers and steps.
struct Draw {
  Key key;                         // of step and layer
  const uint64_t* keys = nullptr;  // of the texts; null: nothing is dropped
  int64_t *seed = nullptr, *offset = nullptr;
};

/// Where the texts of a bucket lie, as AttentionOperands has it: of `bucket` texts those behind the first `texts` are empty. And the draw.
__global__ void __launch_bounds__(block_threads)
    text_places(const int64_t* offsets, int64_t texts, int64_t bucket, int64_t heads, int64_t hidden, Draw draw, int32_t* lengths,
                int64_t* of_qkv, int64_t* of_ctx, int64_t* of_lse) {
  const int64_t b = static_cast<int64_t>(blockIdx.x) * block_threads + threadIdx.x;
  if (b == 0 && draw.keys != nullptr) {
    *draw.seed = static_cast<int64_t>(draw.key.with(draw.keys[0]).value());
    *draw.offset = 0;
  }
  if (b > bucket) return;
  const int64_t begin = offsets[b < texts ? b : texts];
  of_qkv[b] = begin * 3 * hidden;
  of_ctx[b] = begin * hidden;
  of_lse[b] = begin * heads;
  if (b < bucket) lengths[b] = b < texts ? static_cast<int32_t>(offsets[b + 1] - begin) : 0;
}

/// The next multiple of the alignment of device memory.
size_t padded(size_t size_bytes) { return (size_bytes + 255) / 256 * 256; }

bool aligned(std::initializer_list<const void*> all) {
  uintptr_t low = 0;
  for (const void* const p : all) low |= std::bit_cast<uintptr_t>(p);
  return low % 16 == 0;
}

}  // namespace

bool CudaBackend::planned_attention(const DeviceTexts& texts, ConstTensor qkv, int64_t heads, const Dropout& dropout,
                                    AttentionOperands operands) {
  const int64_t hidden = qkv.dim(1) / 3, size = hidden / heads;
  if (!plans_->there() || qkv.dtype() != DType::bf16 || size % 8 != 0 || size > 128 || texts.tokens() == 0) return false;
  if (dropout.p != 0 && !plans_->may_drop()) return false;
  const uint32_t dropped = dropout_threshold(dropout.p);
  const bool back = operands.to_d_qkv != nullptr;
  if (!aligned({operands.qkv, operands.ctx, operands.lse, operands.to_ctx, operands.to_lse})) return false;
  const bool gradients_aligned = aligned({operands.d_ctx, operands.to_d_qkv});
  if (!gradients_aligned && dropped == 0) return false;
  const auto bucket_for = [&](AttentionWay way) { return bucket_of(way, texts, heads, size, dropped); };
  const AttentionBucket bucket = bucket_for(back ? AttentionWay::backward : AttentionWay::forward);
  std::optional<size_t> of_both;
  if (dropped > 0) {
    of_both = plans_->workspace_of_both(bucket_for(AttentionWay::forward), bucket_for(AttentionWay::backward));
    if (!of_both) return false;
  }
  const PlannedAttention* const planned = plans_->find(bucket);
  if (planned == nullptr) return false;
  LODE_CHECK(gradients_aligned, "attention_backward: gradients that do not lie aligned, of what cuDNN has dropped");
  const size_t workspace_bytes = of_both.value_or(planned->workspace_bytes);
  const auto B = static_cast<size_t>(bucket.texts);
  const size_t of_lengths = padded(B * sizeof(int32_t)), of_offsets = padded((B + 1) * sizeof(int64_t)), of_draw = padded(sizeof(int64_t));
  const size_t of_places = of_lengths + 3 * of_offsets + 2 * of_draw;
  // What cuDNN has dropped forward, own kernels would not drop backward, nor in a second pass: where memory is lost since, the run ends.
  const bool begun = dropped > 0 && (back || planned->executed);
  std::byte* const work = begun ? scratch(of_places + workspace_bytes) : scratch_or_null(of_places + workspace_bytes);
  if (work == nullptr) {
    if (graphs_) graphs_->forget();  // some may execute the plan
    plans_->give_back(bucket, cat("the GPU has no memory for ", workspace_bytes >> 20, " MiB of workspace"));
    return false;
  }
  const auto numbers = [&](size_t at) { return reinterpret_cast<int64_t*>(work + of_lengths + at); };
  auto* const lengths = reinterpret_cast<int32_t*>(work);
  const Draw draw{dropout.key, dropped > 0 ? elements<uint64_t>(texts.keys) : nullptr, numbers(3 * of_offsets),
                  numbers(3 * of_offsets + of_draw)};
  const cudaStream_t stream = enqueue(back ? "attention_backward" : "attention_forward", qkv);
  launch(text_places, blocks_of(bucket.texts + 1, block_threads), block_threads, 0, stream, elements<int64_t>(texts.offsets), texts.texts(),
         bucket.texts, heads, hidden, draw, lengths, numbers(0), numbers(of_offsets), numbers(2 * of_offsets));
  operands.lengths = lengths;
  operands.qkv_offsets = numbers(0);
  operands.ctx_offsets = numbers(of_offsets);
  operands.lse_offsets = numbers(2 * of_offsets);
  operands.seed = draw.seed;
  operands.seed_offset = draw.offset;
  plans_->execute(*planned, bucket, stream, operands, work + of_places);
  return true;
}

}  // namespace lodestone
