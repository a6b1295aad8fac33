// Attention without masks and dropout in bf16 by a plan of cuDNN (attention_plans.h). The one kernel here says where texts lie, in a thread
// for each text: 16 bytes read and 28 written a text.
#include <bit>
#include <initializer_list>

#include "core/cuda/attention_plans.h"
#include "core/cuda/cuda_backend.h"
#include "core/cuda/device/launch.h"
#include "core/cuda/device/values.h"

namespace lodestone {

namespace {

using namespace cuda;

constexpr int block_threads = 128;

/// Where the texts of a bucket lie, as AttentionOperands has it: of `bucket` texts those behind the first `texts` are empty.
__global__ void __launch_bounds__(block_threads)
    text_places(const int64_t* offsets, int64_t texts, int64_t bucket, int64_t heads, int64_t hidden, int32_t* lengths, int64_t* of_qkv,
                int64_t* of_ctx, int64_t* of_lse) {
  const int64_t b = static_cast<int64_t>(blockIdx.x) * block_threads + threadIdx.x;
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
  if (!plans_->there() || qkv.dtype() != DType::bf16 || dropout.p != 0 || size % 8 != 0 || size > 128 || texts.tokens() == 0) return false;
  if (!aligned({operands.qkv, operands.ctx, operands.lse, operands.d_ctx, operands.to_ctx, operands.to_lse, operands.to_d_qkv}))
    return false;
  const bool back = operands.to_d_qkv != nullptr;
  const AttentionBucket bucket = bucket_of(back ? AttentionWay::backward : AttentionWay::forward, texts, heads, size);
  const PlannedAttention* const planned = plans_->find(bucket);
  if (planned == nullptr) return false;
  const auto B = static_cast<size_t>(bucket.texts);
  const size_t of_lengths = padded(B * sizeof(int32_t)), of_offsets = padded((B + 1) * sizeof(int64_t));
  std::byte* const work = scratch_or_null(of_lengths + 3 * of_offsets + planned->workspace_bytes);
  if (work == nullptr) {
    plans_->give_back(bucket, cat("the GPU has no memory for ", planned->workspace_bytes >> 20, " MiB of workspace"));
    return false;
  }
  const auto offsets = [&](size_t i) { return reinterpret_cast<int64_t*>(work + of_lengths + i * of_offsets); };
  auto* const lengths = reinterpret_cast<int32_t*>(work);
  const cudaStream_t stream = enqueue(back ? "attention_backward" : "attention_forward", qkv);
  launch(text_places, blocks_of(bucket.texts + 1, block_threads), block_threads, 0, stream, elements<int64_t>(texts.offsets), texts.texts(),
         bucket.texts, heads, hidden, lengths, offsets(0), offsets(1), offsets(2));
  operands.lengths = lengths;
  operands.qkv_offsets = offsets(0);
  operands.ctx_offsets = offsets(1);
  operands.lse_offsets = offsets(2);
  plans_->execute(*planned, bucket, stream, operands, work + of_lengths + 3 * of_offsets);
  return true;
}

}  // namespace lodestone
