// RunCheckpoint: what of a run a checkpoint holds, how all ranks write one together, and how a run goes on from one.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/checkpoints/checkpoint.h"
#include "launch/training/run.h"

namespace lodestone {

/// What of a run is saved, between two steps. On the CPU `vectors` are views of the run's own memory: it may not train on before they are
/// written.
struct RunSnapshot {
  const ParamLayout& layout;
  CheckpointManifest manifest;            // step, name of the save, documents and fingerprints, complete on every rank
  std::vector<Buffer> memory;             // of vectors that were downloaded
  std::vector<CheckpointVector> vectors;  // parameters and moments, of which this rank holds `share` at least
  Slice share;                            // what this rank writes
};

/// Collective. Finished steps: `step`.
RunSnapshot take_snapshot(Run& run, int64_t step);

/// Every rank writes its share into RUN/checkpoint-STEP, which rank 0 makes and publishes. Returns what failed first and on which rank,
/// the same text on all ranks, and empty where the checkpoint is there; nothing is left behind of one that failed. Collective.
std::string write_snapshot(Communicator& comm, const std::filesystem::path& run_folder, const RunSnapshot& snapshot);

/// Sets parameters, moments, step count, loss scale and mining from a checkpoint. Throws Error (checkpoint, "F26") where tokenizer or
/// corpus is another one, and what load_checkpoint throws. Not collective.
void restore_run(Run& run, const std::filesystem::path& checkpoint);

}  // namespace lodestone
