// RunFolder: the folder of a training run - lock, records, checkpoints, and the exported model at the end.
#pragma once

#include <atomic>
#include <filesystem>
#include <map>
#include <optional>

#include "data/checkpoints/run_lock.h"
#include "launch/console/log.h"
#include "launch/console/progress.h"
#include "launch/training/meter.h"
#include "launch/training/run.h"
#include "launch/training/tally.h"

namespace lodestone {

/// What a record says: means over the steps since the last one, norm and rate of the last step.
struct StepRecord {
  RecentLoss::Means means;
  double grad_norm = 0, learning_rate = 0;
  std::vector<double> rank_tokens;  // [W] of the last step
  double loss_scale = 1;
  bool skipped = false;

  /// The most tokens of a rank over the mean, less 1.
  double token_imbalance() const;
};

/// What a save is for, which says what its failure means.
enum class SaveFor : uint8_t {
  later,  // training goes on, and saves again
  stop,   // the run stops here and is to go on from this checkpoint
  end,    // the run ends here, and its model is exported next
};

class RunFolder {
 public:
  /// Every rank makes one. Rank 0 makes and locks the folder, writes to it for trial, sweeps what a killed run left, and finds
  /// the newest checkpoint that verifies. Throws Error: finished or foreign folder (usage), locked (storage, F27), not
  /// writable (storage, F21), a checkpoint of another configuration (checkpoint, F26).
  /// What ends this rank through its watchdog, or refuses the run in a folder that is its own, is in status.json too.
  RunFolder(World& world, const RunConfig& config);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  /// The step to go on with: 0, or that of the checkpoint.
  int64_t first_step() const { return first_step_; }
  /// Where train.chunk_tokens is auto, those that the run had so far: with them it goes on bit for bit.
  void keep_chunk_tokens(TrainConfig& train) const;
  /// Sets parameters, moments and step count from that checkpoint.
  void resume(Run& run);

  /// That many steps are done: what status.json says when the run ends now.
  void reached(int64_t step) { last_step_ = step; }
  void log_step(int64_t step, const StepRecord& record, const Run& run, Meter& meter, Progress& progress);
  /// What a check of mined negatives did.
  void log_mining(int64_t step, const MiningReport& report, Progress& progress);
  void log_heldout(int64_t step, Run& run, Meter& meter, Progress& progress);
  /// All ranks write their share; published by rank 0. A failure is a line that says why. Throws Error (storage, F19) on all ranks for one
  /// at a stop, and for the third in a row of saves for later, naming the last good checkpoint; Error (numerical, F44) instead of saving
  /// weights that are not finite.
  void save(int64_t step, SaveFor purpose, Run& run, Meter& meter, Progress& progress);

  /// Exports and verifies DIR/model, marks the run as finished.
  void finish(Run& run);
  /// Marks the run as stopped at `step`, which is saved; returns the exit code.
  int stopped(int64_t step, const Run& run);
  void failed(const Error& error);
  /// Says, on stderr and in status.json, that a second signal ends this rank, unless status.json has the reason already why the run ends.
  /// May be called by another thread than all others.
  void ended_unsaved(Error error);

 private:
  /// Makes and locks the folder. Rank 0.
  void take_place();
  /// Readies it, and returns the step of the newest checkpoint that verifies, -1 where there is none. Rank 0.
  int64_t begin(const RunConfig& config);
  /// Says that the checkpoint of `step` could not be saved, or throws it where the run cannot go on without.
  void report_failed_save(int64_t step, SaveFor purpose, const std::string& failure, Progress& progress);
  /// Writes a record. Every record of a run goes through here, on rank 0.
  void record(int64_t step, const std::vector<std::pair<std::string, double>>& values,
              const std::vector<std::pair<std::string, std::span<const double>>>& lists = {});
  /// Rank 0.
  void report_lost_records() const;
  /// Prints how train.metric went from the first to the last evaluation, and adds it to the card. Rank 0.
  void judge(const Run& run, ModelCard& card) const;

  World& world_;
  std::filesystem::path dir_;
  std::optional<RunLock> lock_;  // rank 0
  MetricsFile metrics_;          // rank 0
  bool resumed_ = false;
  int64_t first_step_ = 0, last_saved_ = -1, failed_saves_ = 0, save_total_limit_;
  std::atomic<int64_t> last_step_ = 0;
  std::map<int64_t, bool> verified_;  // checkpoints known to be good
};

}  // namespace lodestone
