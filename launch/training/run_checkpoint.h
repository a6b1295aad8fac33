// RunCheckpoint: what of a run a checkpoint holds, how all ranks write one together, and how a run goes on from one.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/checkpoints/checkpoint.h"
#include "launch/training/run.h"

namespace lodestone {

/// What of a run is saved, between two steps: all that writing needs. On the CPU `vectors` are views of the run's own memory: it may not
/// train on before they are written.
struct RunSnapshot {
  ParamLayout layout;
  CheckpointManifest manifest;            // step, name of the save, documents and fingerprints, complete on every rank
  Slice share;                            // of the flat vectors: what this rank writes
  std::unique_ptr<Memory> host;           // where what was downloaded lies
  std::vector<Buffer> downloaded;         // empty on the CPU
  std::vector<CheckpointVector> vectors;  // parameters and moments: their `share`
};

/// Finished steps: `step`. Elsewhere than on the CPU this rank's share is downloaded, once. Collective.
RunSnapshot take_snapshot(Run& run, int64_t step);

/// Brings a snapshot to RUN/checkpoint-STEP, of which every rank writes its share: the three parts below. Returns what failed first and on
/// which rank, the same text on all ranks, and empty where the checkpoint is there; nothing is left behind of one that failed. Collective.
std::string write_snapshot(Communicator& comm, const std::filesystem::path& run_folder, const RunSnapshot& snapshot);

/// Rank 0 makes the temporary folder. Returns as write_snapshot(). Collective.
std::string begin_snapshot(Communicator& comm, const std::filesystem::path& run_folder, const RunSnapshot& snapshot);
/// The share of this rank, which is `rank`. Returns what failed, whatever was thrown, or nothing. Not collective: it needs the snapshot
/// alone.
std::string write_share(int rank, const std::filesystem::path& run_folder, const RunSnapshot& snapshot);
/// Votes on what failed on each rank; where nothing did, rank 0 publishes. Returns as write_snapshot(). Collective.
std::string publish_snapshot(Communicator& comm, const std::filesystem::path& run_folder, const RunSnapshot& snapshot, std::string failure);

/// The chunks that the run had whose checkpoint this is. Nothing where it was saved by a program that does not say. Throws as
/// read_manifest().
std::optional<int64_t> chunk_tokens_of(const std::filesystem::path& checkpoint);

/// Sets parameters, moments, step count, loss scale and mining from a checkpoint. Downloads nothing. Throws Error (checkpoint, "F26") where
/// tokenizer or corpus is another one, and what load_checkpoint throws. Not collective.
void restore_run(Run& run, const std::filesystem::path& checkpoint);

}  // namespace lodestone
