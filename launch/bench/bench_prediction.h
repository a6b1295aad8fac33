// lodestone bench --model-gpu: a step predicted for a GPU that need not be there, as a table or as JSON.
#pragma once

#include <iosfwd>

#include "launch/bench/bench_options.h"
#include "launch/prediction/predicted_step.h"

namespace lodestone {

/// The step that `bench` would measure of these options on `ranks` ranks.
PredictedStep predict_bench(const BenchOptions& options, const GpuCeilings& gpu, int ranks);

/// What was predicted, what was measured, and measured through predicted; null where the GPU of the backend is none that is known.
nlohmann::ordered_json prediction_beside(const BenchOptions& options, int ranks, const std::string& backend_description, double measured_s);

/// Whether the arguments ask for it.
bool asks_for_prediction(std::span<const std::string> arguments);
/// Prints what they ask for. Throws Error (usage).
void print_predictions(std::span<const std::string> arguments, std::ostream& out);

}  // namespace lodestone
