// What a training run will need: tokens per step from sampled batches, and bytes per rank counted from shapes.
#pragma once

#include "core/nn/encoder.h"
#include "data/batches/row_collator.h"
#include "data/plan/plan.h"
#include "losses/embedding_objective.h"
#include "losses/reranker_objective.h"
#include "losses/retromae_objective.h"

namespace lodestone {

/// Of texts with prompt and special tokens, after truncation.
struct TextLengths {
  int64_t texts = 0, tokens = 0, longest = 0;
  int64_t full = 0;  // texts that reach the limit: cut, or just fitting
  double mean() const { return texts == 0 ? 0 : static_cast<double>(tokens) / static_cast<double>(texts); }
  double full_share() const { return texts == 0 ? 0 : static_cast<double>(full) / static_cast<double>(texts); }
};

struct LengthSample {
  int64_t batches = 0;  // parts of the plan that were read, evenly spread over its steps
  TextLengths queries, passages;
  double tokens_per_step = 0;  // over all ranks, scaled up where only part of a batch was read
  Batch largest;               // of those batches the one with most tokens, as one rank of `world` holds it
};

/// The limits of texts: a batch has queries and passages, or texts of one kind only (single texts, pairs), which count as passages.
struct TextLimits {
  int64_t query = 0, passage = 0;
};

/// Reads about 4,096 rows of the plan, whose batches make steps of `batches_per_step`. Throws what collating throws: rows without
/// negatives, ... `world`: see largest.
LengthSample sample_lengths(const Plan& plan, const RowSource& rows, RowCollator& collator, const TextLimits& limits,
                            int64_t batches_per_step, int world);

/// What a batch of `global_batch` rows would be if every text reached its limit: batches 0, and no word of how long texts are.
/// texts_per_row: 1 and G for queries and passages, 0 and 1 for single texts, 0 and G for pairs.
LengthSample longest_lengths(int64_t global_batch, const TextLimits& limits, int64_t queries_per_row, int64_t passages_per_row,
                             int64_t batches_per_step, int world);

/// Bytes per rank, counted from shapes; the libraries' own memory comes on top.
struct MemoryEstimate {
  size_t parameters = 0;  // masters, and the bf16 copy
  size_t gradients = 0, moments = 0;
  size_t activations = 0;  // kept from the first pass to backward; none where chunks are trained one after the other
  size_t embeddings = 0;   // sentence vectors and their gradients
  size_t work = 0;         // the larger of: one encoder call; what the loss takes. Or one chunk
  size_t batches = 0;      // token ids
  size_t reading = 0;      // of corpora: their tables, the chunk being checked, the plan, held-out rows. 0 without data
  size_t total() const { return parameters + gradients + moments + activations + embeddings + work + batches + reading; }
};

/// Under each of the three objectives, with as many parameters in all. `batch` is this rank's share of a global batch; the loss is taken
/// as if it had in-batch negatives, since others of the task's batches may have them.
MemoryEstimate estimate_memory(const Encoder& encoder, const Exec& ex, int64_t parameters, const Batch& batch,
                               const EmbeddingObjectiveOptions& options, const Loss& loss);
MemoryEstimate estimate_memory(const RetroMaeObjective& objective, const Exec& ex, int64_t parameters, const Batch& batch,
                               int64_t chunk_tokens);
MemoryEstimate estimate_memory(RerankerObjective& objective, const Exec& ex, int64_t parameters, const Batch& batch);

}  // namespace lodestone
