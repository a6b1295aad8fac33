// How well models fit a few examples, and the weights that follow from it.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/records/inputs.h"
#include "launch/inference/evaluate.h"

namespace lodestone {

/// Queries, each with its positive and the same number of negatives.
struct Examples {
  std::vector<std::string> queries;       // [n]
  std::vector<std::string> passages;      // [n*group], by query, the positive first
  int64_t group = 1;                      // 1 + negatives
  std::vector<std::string> ignored = {};  // fields that mean nothing here, sorted
};

/// Reads rows with query, pos and neg: the first positive of each and its first `negatives` negatives. Throws Error (data) with file and
/// line where a row has fewer.
Examples read_examples(const std::filesystem::path& file, const InputOptions& options, int64_t negatives);

/// The mean over batches of `batch` consecutive examples, the last one perhaps smaller, of InfoNCE among all passages of the batch
/// (losses/info_nce.h), by cosines and temperature 0.05:
///   1/B sum_i ( log sum_j exp(cos(q_i, p_j) / 0.05) - cos(q_i, p_{i G}) / 0.05 )
/// (embedder_loss of LM_Cocktail 0.0.4). queries [n,E], passages [n*G,E].
double cocktail_loss(std::span<const float> queries, std::span<const float> passages, int64_t group, int64_t embedding, int64_t batch);

/// The same of a model, which embeds the texts with their prompts.
double example_loss(LoadedModel& model, const Examples& examples, const Prompts& prompts, int64_t batch);

/// weights_m = exp(-losses_m / temperature) / sum_k exp(-losses_k / temperature). Throws Error (numerical, "F44") on a loss that is not
/// finite.
std::vector<double> softmax_weights(std::span<const double> losses, double temperature);

}  // namespace lodestone
