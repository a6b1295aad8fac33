// Attention in bf16 on tensor cores, whose scores never lie in memory.
#pragma once

#include "core/cuda/device/attention.h"
#include "core/cuda/device/random.h"
#include "core/device_texts.h"

namespace lodestone::cuda {

/// Whether these kernels take it: heads of 32, 64 or 128, every row at a multiple of 16 bytes, and no text of 2^31 elements or more.
/// `others`: the tensors beside the input, whose rows have H elements or as many as the input's.
bool flash_takes(const DeviceTexts& texts, const AttentionInput<bf16>& in, std::initializer_list<const void*> others);

/// Bytes of device memory that a call needs until it has run: which elements dropout keeps, a bit each, for every row as many as the
/// longest text has keys, filled up to 128; backward also 8 a row and head.
size_t flash_forward_scratch(const DeviceTexts& texts, int64_t heads, const DropoutMask& mask);
size_t flash_backward_scratch(const DeviceTexts& texts, int64_t heads, const DropoutMask& mask);

/// ctx [S,H] and lse [S,A] as Backend::attention_forward and masked_attention_forward have them. Probabilities are rounded to bf16 before
/// they meet the values. A text's bits depend on nothing but the text.
void flash_forward(cudaStream_t stream, const DeviceTexts& texts, const AttentionInput<bf16>& in, const DropoutMask& mask,
                   std::byte* scratch, bf16* ctx, float* lse);
/// The gradients of the same; sums have one order.
void flash_backward(cudaStream_t stream, const DeviceTexts& texts, const AttentionInput<bf16>& in, const DropoutMask& mask,
                    const AttentionOutput<bf16>& known, std::byte* scratch, const AttentionGradients<bf16>& out);

}  // namespace lodestone::cuda
