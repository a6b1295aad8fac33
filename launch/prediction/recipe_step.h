// Steps of a configuration, predicted without its data, its weights and a GPU.
#pragma once

#include <vector>

#include "launch/config/config.h"
#include "launch/prediction/predicted_step.h"

namespace lodestone {

/// One for each task: a step that trains it and no other task, on the ranks of `ranks` that would share its batches. Every text is as long
/// as it may be; RetroMAE's encoder predicts the share of tokens that it masks. Automatic train.chunk_tokens and keep_activations_mb are
/// settled as a run on such a GPU settles them (launch/training/chunk_fit.h). Throws Error as training would, of what the configuration
/// alone shows (usage), and where a step does not fit (resource, "F14").
std::vector<PredictedStep> predict_recipe(const RunConfig& config, const GpuCeilings& gpu, int ranks);

}  // namespace lodestone
