// lodestone train: the training loop.
#include <cmath>
#include <iostream>

#include "core/optim/clip.h"
#include "launch/arguments.h"
#include "launch/command.h"
#include "launch/log.h"
#include "launch/run.h"
#include "launch/run_folder.h"
#include "launch/stop.h"

namespace lodestone {

const char* const train_usage =
    "usage: lodestone train CONFIG.yaml [MORE.yaml ...] [key.path=value ...]\n"
    "       mpirun -np RANKS lodestone train ...\n\n"
    "Trains the model that the configuration describes. Later files and key.path=value win; unknown keys are errors.\n"
    "Makes train.output_dir with config.yaml, metrics.jsonl, status.json, checkpoint-STEP/ and, at the end, model/, which\n"
    "SentenceTransformer(path) loads. The same command on an unfinished run resumes from its newest checkpoint.\n\n"
    "  lodestone check CONFIG.yaml   checks everything first, and prints the first steps\n"
    "  configs/README.md             every key with its default\n\n"
    "Signals: SIGUSR1 to mpirun, or SIGTERM, SIGINT or SIGUSR1 to any rank: all ranks save and exit with 75.\n";

namespace {

constexpr int64_t max_skipped_steps = 10;   // in a row, before a run that has diverged gives up

bool due(int64_t step, int64_t every) { return every > 0 && (step + 1) % every == 0; }

/// What a step adds up over ranks, in one small reduction.
struct Tally {
  double loss = 0, pairs = 0, tokens = 0, stop = 0;
};

/// The largest of every rank's `own` over their mean, less 1. `sum` is over all ranks. Every rank calls it.
double imbalance_over_ranks(Communicator& comm, double own, double sum) {
  all_reduce(comm, std::span(&own, 1), Reduce::max);
  return own * comm.size() / sum - 1;
}

int64_t train(Run& run, RunFolder& folder, const StopSignals& signals) {
  Progress progress("step", step_count(run.cfg, run.plan), run.world.rank() == 0);
  Meter meter;
  bool stopping = false;
  double recent_loss = 0;            // sum over the steps since the last record
  int64_t recent_steps = 0, skipped = 0, step = folder.first_step();
  if (step == 0) folder.log_heldout(0, run, meter, progress);
  for (; step < step_count(run.cfg, run.plan) && !stopping; ++step) {
    // 1. Gradients: every part adds into run.grads and returns this rank's share of the global loss.
    run.backend->fill_zero(run.grads);
    run.sync.begin(run.grads);
    Tally tally;
    const int64_t parts = run.cfg.train.gradient_accumulation_steps;
    for (int64_t part = 0; part < parts; ++part) {
      const Batch& batch = run.loader.take(step, part);
      const Exec ex = run.ex.with(run.ex.key.with(static_cast<uint64_t>(step)).with(static_cast<uint64_t>(part)));
      const GradHook ready = part + 1 == parts ? run.sync.hook() : GradHook{};
      tally.loss += run.objective.accumulate(ex, batch, 1.0 / static_cast<double>(parts), run.grads, ready);
      tally.pairs += static_cast<double>(batch.queries);
      tally.tokens += static_cast<double>(batch.ids.size());
    }
    // 2. Sum over ranks, clip, update. The sums are equal on all ranks, so all take the same branch.
    run.sync.finish(run.grads);
    const double norm = run.sync.norm(*run.backend, run.grads);
    const double own_tokens = tally.tokens;
    tally.stop = signals.received() != 0 ? 1 : 0;
    all_reduce(run.world.comm(), std::span(&tally.loss, sizeof tally / sizeof(double)), Reduce::sum);
    const double lr = run.lr.at(step);
    if (std::isfinite(norm) && std::isfinite(tally.loss)) {
      run.optimizer.step(run.ex, lr, clip_scale(norm, run.cfg.optim.max_grad_norm), run.grads, run.params);
      skipped = 0;
    } else if (++skipped == max_skipped_steps) {
      throw Error(ExitCode::numerical, "F44", cat("loss or gradient was not finite in ", skipped, " steps in a row"),
                  "lower optim.learning_rate, raise loss.temperature, or use precision f32")
          .at("step", step);
    }
    // 3. Bookkeeping. Nothing below changes the numbers above.
    stopping = tally.stop > 0;
    meter.add(tally.pairs, tally.tokens, run.loader.stall_s());
    recent_loss += tally.loss;
    ++recent_steps;
    const bool last = step + 1 == step_count(run.cfg, run.plan);
    if (due(step, run.cfg.train.logging_steps) || last) {
      const double imbalance = imbalance_over_ranks(run.world.comm(), own_tokens, tally.tokens);
      folder.log_step(step + 1, {recent_loss / static_cast<double>(recent_steps), norm, lr, imbalance, skipped > 0}, meter, progress);
      recent_loss = 0;
      recent_steps = 0;
    }
    if (due(step, run.cfg.train.eval_steps) || last) folder.log_heldout(step + 1, run, meter, progress);
    if (due(step, run.cfg.train.save_steps) || last || stopping) folder.save(step + 1, run, meter, progress);
  }
  return step;
}

}  // namespace

int run_train(World& world, std::span<const std::string> arguments) {
  const ConfigArguments given = split_config_arguments(arguments, "train");
  RunConfig config = read_run_config(given.files, given.overrides);
  require_ranks_for_batch(config.train.global_batch, world.size());
  const StopSignals signals;
  RunFolder folder(world, config);                  // locked, written to, its newest verified checkpoint found
  try {
    Run run(world, std::move(config), folder.first_step());
    folder.resume(run);
    if (world.rank() == 0) std::cout << start_up_table(run) << std::flush;
    const int64_t done = train(run, folder, signals);
    if (done < step_count(run.cfg, run.plan)) return folder.stopped(done);
    folder.finish(run);
    return static_cast<int>(ExitCode::finished);
  } catch (const Error& error) {
    folder.failed(error);
    throw;
  }
}

}  // namespace lodestone
