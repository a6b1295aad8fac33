// Replicas: every rank holds the parameters, and their moments unless those are sharded; are they still the same?
#pragma once

#include "launch/training/run.h"

namespace lodestone {

/// Nothing else in a run compares them: a bit that flips in one rank's memory would be trained on, and saved with valid checksums.
class Replicas {
 public:
  /// `run` must outlive it.
  explicit Replicas(Run& run) : run_(run) {}

  /// Before the first step: parameters as loaded or drawn, and moments where they come from a checkpoint. Throws Error (usage, F12) on all
  /// ranks, naming those that differ and the first tensor. Collective.
  void require_same_start(int64_t first_step);
  /// After `finished` steps. Throws Error (numerical, F46) alike, with the step. Collective.
  void require_same(int64_t finished);

 private:
  Run& run_;
};

}  // namespace lodestone
