// lodestone train: the training loop.
#include <algorithm>
#include <cmath>
#include <iostream>

#include "comm/gather_values.h"
#include "core/optim/clip.h"
#include "core/optim/freeze.h"
#include "launch/command.h"
#include "launch/config/arguments.h"
#include "launch/console/log.h"
#include "launch/console/stop.h"
#include "launch/training/run.h"
#include "launch/training/run_folder.h"
#include "launch/training/tally.h"

namespace lodestone {

const char* const train_usage =
    "usage: lodestone train CONFIG.yaml [MORE.yaml ...] [key.path=value ...]\n"
    "       mpirun -np RANKS lodestone train ...\n\n"
    "Trains the model that the configuration describes. Later files and key.path=value win; unknown keys are errors.\n"
    "Makes train.output_dir with config.yaml, metrics.jsonl, status.json, checkpoint-STEP/ and, at the end, model/, which\n"
    "SentenceTransformer(path) loads. The same command on an unfinished run resumes from its newest checkpoint.\n\n"
    "  lodestone check CONFIG.yaml   checks everything first, and prints the first steps\n"
    "  configs/README.md             every key with its default\n\n"
    "Signals: SIGUSR1 or SIGUSR2 to mpirun, or SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP or SIGXCPU to any rank: all ranks\n"
    "save and exit with 75. A second one ends them within two seconds without saving, with 76.\n";

namespace {

constexpr int64_t max_skipped_steps = 10;  // in a row, before a run that has diverged gives up

bool due(int64_t step, int64_t every) { return every > 0 && (step + 1) % every == 0; }

/// Whether a signal reached any rank. Collective.
bool asked_to_stop(Run& run, const StopSignals& stop) {
  int64_t asked = stop.received() != 0;
  all_reduce(run.world.comm(), std::span(&asked, 1), Reduce::max);
  return asked != 0;
}

/// Trains on this team's parts of a step: adds into run.grads and tally. `scale` multiplies the loss.
void accumulate(Run& run, int64_t step, std::span<const StepPart> parts, double scale, StepTally& tally) {
  const auto mine = [&](const StepPart& part) { return takes(run.work.team.team, part); };
  const auto last = std::find_if(parts.rbegin(), parts.rend(), mine);
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!mine(parts[i])) continue;
    Task& task = *run.work.tasks[static_cast<size_t>(parts[i].task)];
    const Batch& batch = run.loader.take(step, parts[i].task);
    const Exec ex = run.ex.with(run.ex.key.with(static_cast<uint64_t>(step)).with(static_cast<uint64_t>(i)));
    const GradHook ready = &parts[i] == &*last ? run.sync.hook() : GradHook{};
    const double share = task.objective->accumulate(ex, batch, parts[i].weight * scale, run.grads, ready) / scale;
    if (task.mining) task.mining->observe(step, static_cast<int64_t>(i), batch.rows, batch.row_negatives, task.scored->scores());
    tally.add(parts[i], share, batch, task.loss != nullptr ? task.loss->counts() : LossCounts{});
  }
}

/// Adapts the loss scale and counts steps without an update in a row. Throws Error (numerical, F44) when a run has diverged: a
/// loss scale that can still be halved is given the chance first.
int64_t count_skipped(Run& run, bool finite, int64_t skipped, int64_t step) {
  const bool scale_may_fall = run.loss_scale && !run.loss_scale->at_minimum();
  if (run.loss_scale) run.loss_scale->update(finite ? GradientState::finite : GradientState::overflow);
  if (finite || scale_may_fall) return 0;
  if (skipped + 1 == max_skipped_steps)
    throw Error(ExitCode::numerical, "F44", cat("loss or gradient was not finite in ", max_skipped_steps, " steps in a row"),
                "lower optim.learning_rate, raise loss.temperature, or use precision f32")
        .at("step", step);
  return skipped + 1;
}

int64_t train(Run& run, RunFolder& folder, const StopSignals& stop) {
  const int64_t steps = run.work.schedule.config().steps;
  Progress progress("step", steps, run.world.rank() == 0);
  Meter meter;
  StepTally tally(run.work.tasks.size());
  RecentLoss recent(run.work.schedule.config().tasks);
  std::vector<StepPart> parts;
  bool stopping = asked_to_stop(run, stop);  // while all this was read and made
  int64_t skipped = 0, step = folder.first_step();
  if (stopping)
    folder.save(step, run, meter, progress);
  else if (step == 0)
    folder.log_heldout(0, run, meter, progress);
  for (; step < steps && !stopping; ++step) {
    // 1. Gradients: every part adds into run.grads and returns this rank's share of its global loss.
    run.work.schedule.parts(step, parts);
    run.backend->fill_zero(run.grads);
    run.sync.begin(run.grads);
    tally.begin();
    const double scale = run.loss_scale ? run.loss_scale->value() : 1.0;
    accumulate(run, step, parts, scale, tally);
    const double own_tokens = tally.tokens();
    if (stop.received() != 0) tally.ask_to_stop();
    // 2. Sum over ranks, clip, update. The sums are equal on all ranks, so all take the same branch.
    run.sync.finish(run.grads);
    clear_frozen(*run.backend, run.frozen, run.grads);
    const ScaledGradient gradient =
        scaled_gradient(run.sync.norm(*run.backend, run.grads), scale, run.ref_scale(), run.cfg.optim.max_grad_norm);
    tally.sum(run.world.comm());
    const double lr = run.lr.at(step);
    const bool finite = std::isfinite(gradient.norm) && std::isfinite(tally.loss());
    if (finite) {
      run.optimizer.step(run.ex, lr, gradient.factor, run.grads, run.params());
      run.sync.share(*run.backend, run.params());
    }
    skipped = count_skipped(run, finite, skipped, step);
    if (const auto report = mine(run, step + 1)) folder.log_mining(step + 1, *report, progress);
    // 3. Bookkeeping. Nothing below changes the numbers above.
    stopping = tally.stop();
    meter.add(tally.pairs(), tally.tokens(), run.loader.stall_s());
    recent.add(tally, parts);
    const bool last = step + 1 == steps;
    if (due(step, run.cfg.train.logging_steps) || last) {
      folder.log_step(step + 1, {recent.take(), gradient.norm, lr, gather_value(run.world.comm(), own_tokens), scale, !finite}, run, meter,
                      progress);
    }
    if (due(step, run.cfg.train.eval_steps) || last) folder.log_heldout(step + 1, run, meter, progress);
    if (due(step, run.cfg.train.save_steps) || last || stopping) folder.save(step + 1, run, meter, progress);
  }
  return step;
}

}  // namespace

int run_train(World& world, StopSignals& stop, std::span<const std::string> arguments) {
  const ConfigArguments given = split_config_arguments(arguments, "train");
  RunConfig config = read_run_config(given.files, given.overrides);
  RunFolder folder(world, config);  // locked, written to, its newest verified checkpoint found
  stop.set_farewell([&](int second) { folder.ended_unsaved(stop.received(), second); });
  try {
    Run run(world, std::move(config), folder.first_step());
    folder.resume(run);
    if (world.rank() == 0) std::cout << start_up_table(run) << std::flush;
    const int64_t done = train(run, folder, stop);
    if (done < run.work.schedule.config().steps) return stop.settled(folder.stopped(done));
    folder.finish(run);
    return stop.settled(static_cast<int>(ExitCode::finished));
  } catch (const std::exception& error) {
    folder.failed(as_error(error));
    stop.set_farewell({});
    throw;
  }
}

}  // namespace lodestone
