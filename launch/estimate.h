// What a training run will need: tokens per step from sampled batches, and bytes per rank counted from shapes.
#pragma once

#include "core/nn/encoder.h"
#include "data/collate.h"
#include "data/plan.h"
#include "data/row_source.h"
#include "losses/embedding_objective.h"

namespace lodestone {

/// Of texts with prompt and special tokens, after truncation.
struct TextLengths {
  int64_t texts = 0, tokens = 0, longest = 0;
  int64_t full = 0;               // texts that reach the limit: cut, or just fitting
  double mean() const { return texts == 0 ? 0 : static_cast<double>(tokens) / static_cast<double>(texts); }
  double full_share() const { return texts == 0 ? 0 : static_cast<double>(full) / static_cast<double>(texts); }
};

struct LengthSample {
  int64_t batches = 0;            // parts of the plan that were read, evenly spread over its steps
  TextLengths queries, passages;
  double tokens_per_step = 0;     // over all ranks, scaled up where only part of a batch was read
  Batch largest;                  // of those batches the one with most tokens, as one rank of `world` holds it
};

/// Reads about 4,096 rows of the plan, whose batches make steps of `accumulate`. Throws what collating throws: rows without negatives, ... `world`: see largest.
LengthSample sample_lengths(const Plan& plan, const RowSource& rows, Collator& collator, int64_t accumulate, int world);

/// Bytes per rank, counted from shapes; the libraries' own memory comes on top.
struct MemoryEstimate {
  size_t parameters = 0;          // masters, and the bf16 copy
  size_t gradients = 0, moments = 0;
  size_t activations = 0;         // kept from the first pass to backward
  size_t embeddings = 0;          // sentence vectors and their gradients
  size_t work = 0;                // the larger of: one encoder call; the loss with gathered passages and a tile of logits
  size_t batches = 0;             // token ids
  size_t total() const { return parameters + gradients + moments + activations + embeddings + work + batches; }
};

MemoryEstimate estimate_memory(const Encoder& encoder, const Exec& ex, int64_t parameters, const Batch& batch,
                               const EmbeddingObjectiveOptions& options);

}  // namespace lodestone
