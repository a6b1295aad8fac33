// The seam between attention here and a library that has plans for it: what liblodestone_cudnn.so (core/cuda/cudnn) exports: plan,
// workspace_bytes and execute, and what opens and releases around them, without a type or a header of cuDNN. The tests put a double behind
// it.
#pragma once

#include <driver_types.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>

namespace lodestone::cuda {

enum class AttentionWay : uint8_t { forward, backward };

/// What a plan depends on, and how large what it is executed on may be: bf16, rows of texts behind each other, every token sees its whole
/// text, scores are divided by the root of the head size.
struct AttentionBucket {
  AttentionWay way{};
  int64_t texts = 0;    // B, empty ones among them
  int64_t longest = 0;  // T: no text has more tokens
  int64_t tokens = 0;   // at least S, the tokens of all texts, a multiple of 64; 0 for the way forward, which does not ask
  int64_t heads = 0, head_size = 0;
  uint32_t dropout = 0;  // of 65536 probabilities so many are dropped, and the others divided by 1 - dropout / 65536 (core/rng.h)

  auto operator<=>(const AttentionBucket&) const = default;
};

/// Device memory of one execution, each at a multiple of 16 bytes; H = heads * head size. Row s belongs to the text whose tokens begin at
/// or before it. What lies behind the last text's rows is neither read nor written.
struct AttentionOperands {
  // Read; all but the first backward only.
  const void* qkv = nullptr;    // [S,3H] bf16: queries from column 0 on, keys from H, values from 2H, head-major
  const void* ctx = nullptr;    // [S,H] bf16
  const float* lse = nullptr;   // [S,A]: logarithms of the sums of exp of scaled scores
  const void* d_ctx = nullptr;  // [S,H] bf16
  // Written (=): the first two forward, the last one backward.
  void* to_ctx = nullptr;
  float* to_lse = nullptr;
  void* to_d_qkv = nullptr;  // as qkv

  const int32_t* lengths = nullptr;  // [B]: tokens of each text
  // [B+1] each: where a text's rows begin, in elements of qkv and d_qkv (3H a token), of ctx and d_ctx (H), of lse (A). The last one, and
  // those of empty texts at the end: where the last text ends.
  const int64_t *qkv_offsets = nullptr, *ctx_offsets = nullptr, *lse_offsets = nullptr;
  // [1] each, where the bucket drops something: what is dropped is a function of them, of the bucket but its way and tokens, and of a
  // probability's text by its number, head, row and column.
  const int64_t *seed = nullptr, *seed_offset = nullptr;
};

struct AttentionEngine;  // the library's state for one GPU
struct AttentionPlan;    // how it computes one bucket

/// Attention by a library. Members are what it exports, each under the name "lodestone_cudnn_" and its own. Nothing throws.
struct AttentionLibrary {
  /// For the present GPU. version = "9.19.0". Null: `reason` says why not.
  AttentionEngine* (*open)(std::string& version, std::string& reason) = nullptr;
  /// What was planned must have been released.
  void (*close)(AttentionEngine* engine) = nullptr;

  /// Takes a second, for the library compiles. Null: `reason` says why, and `supported` whether the library has such a plan for this GPU
  /// and something failed (memory, say), or has none.
  AttentionPlan* (*plan)(AttentionEngine& engine, const AttentionBucket& bucket, bool& supported, std::string& reason) = nullptr;
  /// What an execution needs beside its operands.
  size_t (*workspace_bytes)(const AttentionPlan& plan) = nullptr;
  /// Enqueued. The same operands give the same bits. False where it could not be enqueued: `reason` says why. workspace: device memory of
  /// workspace_bytes(), at a multiple of 256 bytes.
  bool (*execute)(AttentionPlan& plan, cudaStream_t stream, const AttentionOperands& operands, void* workspace,
                  std::string& reason) = nullptr;
  void (*release)(AttentionPlan* plan) = nullptr;
};

}  // namespace lodestone::cuda
