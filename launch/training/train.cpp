// lodestone train: the training loop.
#include <algorithm>
#include <iostream>

#include "comm/gather_values.h"
#include "launch/command.h"
#include "launch/config/arguments.h"
#include "launch/console/log.h"
#include "launch/console/stop.h"
#include "launch/training/replicas.h"
#include "launch/training/run.h"
#include "launch/training/run_folder.h"
#include "launch/training/same_start.h"
#include "launch/training/step.h"

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
  all_reduce(run.planes.group().host, std::span(&asked, 1), Reduce::max);
  return asked != 0;
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
  TrainingStep training(run);
  Replicas replicas(run);
  const StepTally& tally = training.tally();
  RecentLoss recent(run.work.schedule.config().tasks);
  bool stopping = asked_to_stop(run, stop);  // while all this was read and made
  int64_t skipped = 0, step = folder.first_step();
  if (stopping)
    folder.save(step, SaveFor::stop, run, meter, progress);
  else if (step == 0)
    folder.log_heldout(0, run, meter, progress);
  for (; step < steps && !stopping; ++step) {
    training.accumulate(step);
    const double own_tokens = tally.tokens();
    if (stop.received() != 0) training.ask_to_stop();
    const StepOutcome done = training.update(step);
    skipped = count_skipped(run, done.finite, skipped, step);
    if (const auto report = mine(run, step + 1)) folder.log_mining(step + 1, *report, progress);
    // Bookkeeping. Nothing below changes the numbers above.
    folder.reached(step + 1);
    stopping = tally.stop();
    meter.add(tally.pairs(), tally.tokens(), run.loader.stall_s());
    recent.add(tally, training.parts());
    const bool last = step + 1 == steps, saving = due(step, run.cfg.train.save_steps) || last || stopping;
    if (saving || due(step, run.cfg.train.replica_check_every)) replicas.require_same(step + 1);
    if (saving) run.work.require_unchanged();
    if (due(step, run.cfg.train.logging_steps) || last) {
      const std::vector<double> tokens = gather_value(run.planes.group().host, own_tokens);
      folder.log_step(step + 1, {recent.take(), done.norm, done.lr, tokens, done.scale, !done.finite}, run, meter, progress);
    }
    if (due(step, run.cfg.train.eval_steps) || last) folder.log_heldout(step + 1, run, meter, progress);
    const SaveFor purpose = last ? SaveFor::end : stopping ? SaveFor::stop : SaveFor::later;
    if (saving) folder.save(step + 1, purpose, run, meter, progress);
  }
  return step;
}

}  // namespace

/// At least ten seconds, since other things than a hang take a moment there: processes start, files are read.
double train_hang_limit_s(std::span<const std::string> arguments) {
  try {
    const ConfigArguments given = split_config_arguments(arguments, "train");
    return std::max(10.0, static_cast<double>(read_run_config(given.files, given.overrides).train.timeout_s));
  } catch (const std::exception&) {  // run_train() says it
    return World::default_hang_limit_s;
  }
}

int run_train(World& world, StopSignals& stop, std::span<const std::string> arguments) {
  const ConfigArguments given = split_config_arguments(arguments, "train");
  RunConfig config = read_run_config(given.files, given.overrides);
  require_same_configuration(world.comm(), config);
  RunFolder folder(world, config);  // locked, written to, its newest verified checkpoint found
  stop.set_farewell([&](const Error& error) { folder.ended_unsaved(error); });
  try {
    folder.keep_chunk_tokens(config.train);
    Run run(world, std::move(config), folder.first_step());
    folder.resume(run);
    Replicas(run).require_same_start(folder.first_step());
    world.watchdog().set_limit(static_cast<double>(run.cfg.train.timeout_s));  // from here on every rank has the same to do
    if (world.rank() == 0) std::cout << start_up_table(run) << std::flush;
    const int64_t done = train(run, folder, stop);
    if (done < run.work.schedule.config().steps) return stop.settled(folder.stopped(done, run));
    folder.finish(run);
    return stop.settled(static_cast<int>(ExitCode::finished));
  } catch (const std::exception& error) {
    folder.failed(as_error(error));
    stop.set_farewell({});
    throw;
  }
}

}  // namespace lodestone
