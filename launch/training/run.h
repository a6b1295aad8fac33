// Run: every object of a training run, built from the configuration in reading order.
#pragma once

#include <memory>
#include <optional>

#include "comm/grad_sync.h"
#include "comm/planes.h"
#include "core/optim/adamw.h"
#include "core/optim/loss_scale.h"
#include "core/optim/lr_schedule.h"
#include "launch/console/cores.h"
#include "launch/training/workload.h"

namespace lodestone {

struct Run {
  /// Loads everything; the loader starts with first_step. Collective. Throws Error (usage, F12) where ranks do not load the same.
  Run(World& world, RunConfig config, int64_t first_step);
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  ParamStore& params() { return network->params(); }
  TaskContext task_context() { return {cfg, ex, *network, tokenizer, planes.group(), {world.rank(), world.size()}}; }
  /// The true gradient is grads times this: 1 / ranks under optim.ref_grad_scale.
  double ref_scale() const { return cfg.optim.ref_grad_scale ? 1.0 / world.size() : 1.0; }

  World& world;
  RunConfig cfg;  // automatic train.chunk_tokens and keep_activations_mb are settled, the same on all ranks, once step memory is known
  const Cores cores;

  std::unique_ptr<Backend> backend;
  Planes planes;                     // of all ranks
  std::unique_ptr<Network> network;  // weights as loaded, or random
  Tokenizer tokenizer;
  Buffer grads_memory;
  Tensor grads;  // flat, laid out as the parameters
  GradSync sync;
  std::vector<Slice> frozen;
  AdamW optimizer;
  const size_t step_memory_bytes;  // of a GPU what is left behind all that has a size of its own, at most as much as is wanted
  Arena arena;
  Exec ex;  // key: seed

  Workload work;  // held-out rows are read before the loader's thread starts: HDF5 is used from one thread at a time
  LrSchedule lr;
  std::optional<LossScale> loss_scale;
  Loader loader;  // last: its thread uses rows and plans
};

/// Ends a step for mining: `finished` counts steps. Lets the loader go on to the next check. Collective.
std::optional<MiningReport> mine(Run& run, int64_t finished);

/// What held-out rows gave.
struct HeldOutFigures {
  std::string task;  // empty: the only task, or all together
  int64_t rows = 0;
  std::vector<Figure> figures;  // the same on all ranks
};
/// One for each task with held-out rows; where each of several tasks has a loss there, one more: `loss`, as a step's is on average.
/// Collective.
std::vector<HeldOutFigures> heldout_figures(Run& run);

/// The start-up table: model, batch, ranks x threads x cores, lengths.
std::string start_up_table(const Run& run);

}  // namespace lodestone
