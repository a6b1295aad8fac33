// The texts of a chunk on their way to training: named for the step, and filled up where shapes are to come again.
#pragma once

#include "core/exec.h"

namespace lodestone {

/// The same texts with the names that they have in ex.step, so that the same text has other dropout masks in every step, while layers' keys
/// stay what they are. Lives in ex.arena. Where ex names no step, or nothing is dropped, `tokens` as they are.
TokenBatch in_step(const Exec& ex, const TokenBatch& tokens);

/// What a batch is filled up to: never more tokens than `tokens`, where it has not more by itself; texts of at most `longest`.
struct FillLimits {
  int64_t tokens = 0, longest = 0;
};

/// Uploads the texts with others behind them, so that batches of many sizes have few shapes. Tokens go up to a multiple of a sixteenth to
/// an eighth of their number (and of Backend::row_bucket(), so that no row is padding), the longest text to a multiple of 64, texts to a
/// power of two. The tokens that fill up are those of the batch again, in texts of their own, and behind these stand empty ones: every
/// value of them is finite, and where the gradients of their vectors are zero, they add zero to every gradient.
DeviceTexts upload_filled_texts(const Exec& ex, const TokenBatch& tokens, const FillLimits& limits);

/// in_step(), uploaded: filled up where the backend replays.
DeviceTexts upload_step_texts(const Exec& ex, const TokenBatch& tokens, const FillLimits& limits);

}  // namespace lodestone
