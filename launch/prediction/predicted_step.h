// PredictedStep: a step as people and programs read of it. Every figure is marked as predicted.
#pragma once

#include <iosfwd>
#include <nlohmann/json.hpp>
#include <string>

#include "launch/prediction/predict.h"

namespace lodestone {

/// A step that was counted.
struct StepFacts {
  std::string name;  // what is trained on what
  int ranks = 1;
  int64_t rows = 0;              // of all ranks: pairs, or whatever a batch has
  double tokens = 0, flops = 0;  // of all ranks; FLOPs as encoder_flops() has them
  double memory_bytes = 0;       // of one rank
  int64_t chunk_tokens = 0;
};

struct PredictedStep {
  StepFacts facts;
  Prediction prediction;  // of one rank
  const GpuCeilings& gpu;

  double tokens_per_s() const { return facts.tokens / prediction.step_s; }
  double rows_per_s() const { return static_cast<double>(facts.rows) / prediction.step_s; }
  /// Of all ranks' ceilings of products in bf16.
  double share_of_ceiling() const { return facts.flops / prediction.step_s / (gpu.bf16_products * facts.ranks); }
  bool fits() const { return facts.memory_bytes <= gpu.memory_bytes; }
};

nlohmann::ordered_json predicted_json(const PredictedStep& step);
/// A table, of ten lines or so.
void print_predicted(std::ostream& out, const PredictedStep& step);

}  // namespace lodestone
