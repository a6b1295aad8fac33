// What a training run will need: tokens per step from sampled batches, and bytes per rank found by a step that computes nothing.
#pragma once

#include <functional>
#include <memory>

#include "data/batches/row_collator.h"
#include "data/plan/plan.h"
#include "losses/objective.h"

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

/// Fills what training would find in a batch beside token ids, where it lacks it: text keys, hashes that all differ, scores, and masks of
/// single texts under which every token is predicted. Other queries' passages become negatives.
void complete_batch(Batch& batch);

/// Bytes per rank. Those of one step are what the step itself takes when it is run on a backend that computes nothing.
struct MemoryEstimate {
  size_t parameters = 0;  // masters, and the bf16 copy
  size_t gradients = 0, moments = 0;
  // At the peak of a step:
  size_t activations = 0;   // kept from the first pass to backward; none where chunks are trained one after the other
  ChunkCounts chunks = {};  // how many of them that is
  size_t embeddings = 0;    // sentence vectors, their gradients and copies
  size_t work = 0;          // all else of step memory
  size_t scratch = 0;       // the backend's own, beside step memory
  size_t batches = 0;       // token ids
  size_t reading = 0;       // of corpora: their tables, the chunk being checked, the plan, held-out rows. 0 without data
  size_t total() const { return parameters + gradients + moments + activations + embeddings + work + scratch + batches + reading; }
};

/// Makes an objective over the ranks that share a batch, of which none need be there.
using MakeObjective = std::function<std::unique_ptr<Objective>(const Group&)>;

/// Of training an objective on such a batch, this rank's share of a global one, completed by complete_batch(): the loss is taken as if it
/// had in-batch negatives, since others of the task's batches may have them.
MemoryEstimate estimate_memory(const Exec& ex, int64_t parameters, Batch batch, const MakeObjective& make);

/// Throws Error (resource, "F14") when a batch of one row needs more step memory than `limit_bytes`, saying how much, and how long the
/// texts of a row that fits may be. row(n): a row whose texts have n tokens, or their own limit where that is less; no text has more than
/// `longest`.
void require_step_memory(const Exec& ex, int64_t parameters, size_t limit_bytes, int64_t longest, const std::function<Batch(int64_t)>& row,
                         const MakeObjective& make);

}  // namespace lodestone
