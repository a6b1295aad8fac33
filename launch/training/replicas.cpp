#include "launch/training/replicas.h"

#include "comm/require_same.h"
#include "data/checkpoints/replica_hash.h"
#include "data/files/durable.h"

namespace lodestone {

namespace {

/// What all ranks hold whole.
std::vector<CheckpointVector> replicated(Run& run, bool moments) {
  std::vector<CheckpointVector> vectors{{"params", run.params().masters()}};
  if (moments && !run.sync.sharded()) {
    vectors.push_back({"adam_m", run.optimizer.first_moments()});
    vectors.push_back({"adam_v", run.optimizer.second_moments()});
  }
  return vectors;
}

void compare(Run& run, const char* what, std::span<const CheckpointVector> vectors, const Mismatch& mismatch) {
  if (run.world.size() == 1) return;
  const ParamLayout& layout = run.params().layout();
  const std::vector<uint64_t> hashes = replica_hashes(*run.backend, run.arena, layout, vectors);
  const Fingerprint prints[] = {{what, checksum(std::as_bytes(std::span(hashes))), [&] { return replica_facts(layout, vectors, hashes); }}};
  require_same(run.planes.group().host, prints, mismatch);
}

}  // namespace

void Replicas::require_same_start(int64_t first_step) {
  compare(run_, "starting weights", replicated(run_, first_step > 0),
          {.remedy = "give every host the same model folder and the same checkpoints"});
}

void Replicas::require_same(int64_t finished) {
  try {
    compare(run_, "replica of the weights", replicated(run_, true),
            {ExitCode::numerical, "F46",
             "run the same command again, which goes on from the last checkpoint; if it happens again, leave that host out and test its "
             "memory"});
  } catch (Error& error) {
    error.at("step", finished);
    throw;
  }
}

}  // namespace lodestone
