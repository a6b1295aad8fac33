#include "launch/training/chunk_fit.h"

#include "core/null/dry_run.h"

namespace lodestone {

int64_t largest_fitting_chunk(const Run& run, const Task& task, const Batch& batch) {
  const auto fits = [&](int64_t tokens) {
    RunConfig config = run.cfg;
    config.train.chunk_tokens = tokens;
    DryRun dry(*run.backend, ScratchCount::left_out);  // parameters of a second network take no memory there
    const std::unique_ptr<Network> network = open_network(config, Weights::shapes, dry.backend());
    const MemoryEstimate step = estimate_memory(run.ex, network->params().layout().count(), batch,
                                                [&](const Group& group) { return network->objective(task.loss.get(), group); });
    return step.activations + step.embeddings + step.work <= run.step_memory_bytes;
  };
  if (fits(run.cfg.train.chunk_tokens)) return 0;
  const int64_t bucket = run.backend->row_bucket();
  int64_t most = 0, too_many = (run.cfg.train.chunk_tokens + bucket - 1) / bucket;  // in buckets, since rows are padded to whole ones
  while (too_many - most > 1) {
    const int64_t middle = most + (too_many - most) / 2;
    (fits(middle * bucket) ? most : too_many) = middle;
  }
  return most * bucket;
}

}  // namespace lodestone
