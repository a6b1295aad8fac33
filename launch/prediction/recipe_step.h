// Steps of a configuration, predicted without its data, its weights and a GPU.
#pragma once

#include <vector>

#include "launch/config/config.h"
#include "launch/prediction/predicted_step.h"

namespace lodestone {

/// One for each task: a step that trains it and no other task, on the ranks of `ranks` that would share its batches. Every text is as long
/// as it may be; RetroMAE's encoder predicts the share of tokens that it masks. An automatic train.chunk_tokens is the most of 8,192,
/// 4,096, 2,048 and 1,024 with which the step fits the GPU, and 1,024 where none does. Throws Error (usage) as training would, of what the
/// configuration alone shows.
std::vector<PredictedStep> predict_recipe(const RunConfig& config, const GpuCeilings& gpu, int ranks);

}  // namespace lodestone
