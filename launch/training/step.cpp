#include "launch/training/step.h"

#include <algorithm>
#include <cmath>

#include "core/optim/clip.h"
#include "core/optim/freeze.h"
#include "launch/training/chunk_fit.h"

namespace lodestone {

namespace {

/// Says in the remedy with which chunks the batch fits, if any. Whatever the search meets, the error remains what it was.
void name_fitting_chunk(const Run& run, const Task& task, const Batch& batch, Error& error) {
  try {
    if (const int64_t tokens = largest_fitting_chunk(run, task, batch); tokens > 0)
      error.remedy(cat("set train.chunk_tokens to ", tokens, " or less: with them this batch fits"));
  } catch (const Error&) {
    return;
  }
}

/// Runs `work` on a batch; where step memory is used up, the error says with which chunks it is not.
template <class Work>
LossResult naming_fitting_chunk(const Run& run, const Task& task, const Batch& batch, const Work& work) {
  try {
    return work();
  } catch (Error& error) {
    if (error.code() == "F14") name_fitting_chunk(run, task, batch, error);
    throw;
  }
}

}  // namespace

TrainingStep::TrainingStep(Run& run)
    : run_(run),
      tally_(run.work.tasks.size(), run.sync.sharded() ? static_cast<size_t>(run.world.size()) : 0),
      results_(*run.backend, run.work.schedule.parts_per_step()) {}

void TrainingStep::accumulate(int64_t step) {
  Run& run = run_;
  run.work.schedule.parts(step, parts_);
  run.backend->fill_zero(run.grads);
  run.sync.begin(run.grads);
  tally_.begin();
  results_.begin();
  const auto last = std::find_if(parts_.rbegin(), parts_.rend(), [&](const StepPart& part) { return mine(part); });
  for (size_t i = 0; i < parts_.size(); ++i) {
    const StepPart& part = parts_[i];
    if (!mine(part)) continue;
    Task& task = *run.work.tasks[static_cast<size_t>(part.task)];
    const Batch& batch = run.loader.take(step, part.task);
    const Exec ex = run.ex.at(Key(static_cast<uint64_t>(step)).with(static_cast<uint64_t>(i)));
    const GradHook ready = &part == &*last ? run.sync.hook() : GradHook{};
    const auto place = static_cast<int64_t>(i);
    const LossResult result = naming_fitting_chunk(run, task, batch, [&] {
      return task.objective->accumulate(ex, batch, part.weight * scale(), run.grads, results_.share(place), ready);
    });
    if (task.mining) task.mining->observe(step, place, batch.rows, batch.row_negatives, result.scores);
    tally_.add(batch, result.counts);
  }
}

StepOutcome TrainingStep::update(int64_t step) {
  Run& run = run_;
  StepOutcome outcome{.lr = run.lr.at(step), .scale = scale()};
  run.sync.finish(run.grads);
  clear_frozen(*run.backend, run.frozen, run.grads);
  collect(outcome.scale);
  const ScaledGradient gradient = scaled_gradient(tally_.norm(), outcome.scale, run.ref_scale(), run.cfg.optim.max_grad_norm);
  outcome.norm = gradient.norm;
  outcome.finite = std::isfinite(gradient.norm) && std::isfinite(tally_.loss());
  if (outcome.finite) {
    run.optimizer.step(run.ex, outcome.lr, gradient.factor, run.grads, run.params());
    run.sync.share(run.params());
  }
  return outcome;
}

void TrainingStep::collect(double scale) {
  const auto scope = run_.arena.scope();
  run_.backend->sum_squares(run_.grads.slice(run_.sync.own()), results_.squares());
  const std::span<const double> values = results_.read(run_.arena);
  for (size_t i = 0; i < parts_.size(); ++i)
    if (mine(parts_[i])) tally_.add_share(parts_[i], values[i] / scale);
  tally_.set_squares(values.back(), run_.world.rank());
  tally_.sum(run_.planes.group().host);
}

}  // namespace lodestone
