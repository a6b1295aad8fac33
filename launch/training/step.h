// TrainingStep: one optimizer step of a run.
#pragma once

#include "launch/training/run.h"
#include "launch/training/tally.h"
#include "losses/step_results.h"

namespace lodestone {

/// The same on all ranks.
struct StepOutcome {
  double norm = 0;  // of the gradient before it is clipped
  double lr = 0, scale = 1;
  bool finite = true;  // false: a loss or the gradient was not, and nothing was updated
};

/// accumulate() and update() make a step. What a step found is downloaded once, and a rank has its share of it in one small reduction;
/// mining downloads the scores of negatives besides.
class TrainingStep {
 public:
  explicit TrainingStep(Run& run);

  /// Gradients: every part of this rank's team adds into run.grads, and leaves its share of the global loss on the device.
  void accumulate(int64_t step);
  /// Says to all ranks, with what update() sums, that this one was asked to stop.
  void ask_to_stop() { tally_.ask_to_stop(); }
  /// Sums over ranks, clips, updates. All ranks take the same branch. Collective.
  StepOutcome update(int64_t step);

  /// Of the step at hand; sums over ranks behind update().
  const StepTally& tally() const { return tally_; }
  /// Of all teams.
  std::span<const StepPart> parts() const { return parts_; }

 private:
  double scale() const { return run_.loss_scale ? run_.loss_scale->value() : 1.0; }
  bool mine(const StepPart& part) const { return takes(run_.work.team.team, part); }
  /// Brings what the step found to the host, and adds it up over ranks.
  void collect(double scale);

  Run& run_;
  StepTally tally_;
  StepResults results_;
  std::vector<StepPart> parts_;
};

}  // namespace lodestone
