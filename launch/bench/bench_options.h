// What is asked of `bench`: which step, of which model, on what.
#pragma once

#include <span>
#include <string>

#include "core/backend_kind.h"
#include "core/dtype.h"
#include "core/nn/config.h"
#include "launch/config/options.h"
#include "losses/embedding_objective.h"

namespace lodestone {

struct BenchOptions {
  std::string model = "minilm";   // bert-base or bert-large
  std::string lengths = "dense";  // 128 tokens a text; real: queries of 5 to 20, passages of 16 to 128; short: 4 to 8; or a number
  std::string precision = "bf16";
  std::string loss = "info_nce";  // of bench_losses()
  int64_t group = 1;              // G: passages per query
  BackendKind backend = BackendKind::cpu;
  int64_t threads = 0;  // of each rank; 0: the cores that it may use
  int64_t pairs = 32;   // N: of the global batch
  int64_t steps = 5, chunk_tokens = 1024, keep_mb = 4096;
  double dropout = 0.1;  // of hidden states and attention
  Launches launches = Launches::single;
  int64_t ceiling_edge = 0;  // of the matrices whose product is the ceiling; 0: none
};

/// The options that say which step is meant.
std::span<const std::string> step_option_names();
/// The step that they say; the rest as it is. Throws Error (usage).
BenchOptions read_step_options(const Options& given);

/// What --cuda-graphs says. Throws Error (usage).
Launches read_launches(const Options& given);

DType compute_dtype(const BenchOptions& options);
/// The model, with its dropout.
EmbedderConfig bench_config(const BenchOptions& options);
EmbeddingObjectiveOptions objective_options(const BenchOptions& options);

}  // namespace lodestone
