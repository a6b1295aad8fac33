// One whole training step on random texts with random weights, on all ranks: what it takes, and what it counts.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "comm/grad_sync.h"
#include "comm/planes.h"
#include "comm/world.h"
#include "core/optim/adamw.h"
#include "launch/bench/bench_batch.h"
#include "launch/bench/bench_loss.h"
#include "launch/bench/bench_options.h"
#include "launch/bench/bench_product.h"
#include "launch/console/cores.h"
#include "launch/prediction/counted_step.h"
#include "losses/embedding_objective.h"
#include "losses/step_results.h"

namespace lodestone {

/// What of a step is waited for: the loss and the update too, so that each is timed, or the whole only, as in a run.
enum class Watch : uint8_t { parts, whole };

/// On the clock, and of the processor by all threads of this process: the second hardly depends on what else the machine does.
struct Seconds {
  double wall = 0, processor = 0;

  static Seconds now();
  Seconds operator-(const Seconds& other) const { return {wall - other.wall, processor - other.processor}; }
  Seconds operator*(double factor) const { return {wall * factor, processor * factor}; }
};

/// Of one step; of each figure the largest of all ranks.
struct StepCounts {
  Seconds whole, loss, update;  // update: the gradients' sum over ranks, their norm, AdamW. Loss and update: where parts are watched
  Seconds encoder() const { return whole - loss - update; }
  double enqueue_s = 0;  // until the host has asked for all gradients of this rank
  int64_t page_faults = 0;
  int64_t allocations = 0;  // calls of operator new, by all threads
};

/// What it takes to find out whether all ranks have the same: the largest of all ranks.
struct CompareTimes {
  double start_s = 0;     // the program's file, and the weights, as before a first step
  double replicas_s = 0;  // parameters and moments, as every so many steps
};

/// Step memory of this rank in one step. The vectors of texts and their gradients grow with the batch; the rest should not grow.
struct StepMemory {
  size_t peak_bytes = 0;
  size_t vectors_bytes = 0;  // of the peak: sentence vectors, their gradients and copies, gathered ones included
  size_t beyond_bytes = 0;   // the most that is in use beside vectors at any time
};

/// A step that the device found enqueued behind other work. Its results are not read, and its gradients not clipped.
struct QueuedStep {
  double device_s = 0;  // from the end of that work to the end of the step
  double ahead_s = 0;   // how long the host, having enqueued the step, waited for its beginning: none means that device_s is too short
};

/// A loss that notes how long it took, until the device was done with it, while parts are watched.
class WatchedLoss final : public Loss {
 public:
  explicit WatchedLoss(std::unique_ptr<Loss> loss) : loss_(std::move(loss)) {}
  LossResult evaluate(Exec& ex, const Group& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb,
                      Tensor share) override;
  Seconds seconds() const { return seconds_; }
  void watch(Watch watch) { watch_ = watch; }

 private:
  std::unique_ptr<Loss> loss_;
  Seconds seconds_;
  Watch watch_ = Watch::parts;
};

/// Everything that a training run owns on one rank, without data.
class BenchStep {
 public:
  BenchStep(World& world, const BenchOptions& options);

  /// This rank's part of a global batch: bench_batch().
  Batch batch(int64_t queries, int64_t group) const {
    return bench_batch(options_.lengths, queries, group, {.rank = world_.rank(), .ranks = world_.size()});
  }
  /// Collective: gradients of all chunks, their sum over ranks, clipping, AdamW.
  StepCounts run(const Batch& batch, Watch watch = Watch::parts);
  /// The same on one rank, without reading what it found, behind so many large products.
  QueuedStep queued(const Batch& batch, int64_t products);
  /// Collective: the loss alone (value and gradient), on random vectors for the texts of `batch`; the slowest rank's.
  Seconds loss_seconds(Loss& loss, const Batch& batch);
  /// Collective: as a training run compares, medians of five.
  CompareTimes compare();
  /// Step memory of a step of `batch`, and of the loss alone as loss_seconds() runs it: found without doing either.
  size_t step_bytes(const Batch& batch);
  size_t loss_bytes(Loss& loss, const Batch& batch);
  /// Writes to so much step memory, so that no page of it is new to what comes.
  void touch(size_t bytes);
  /// Collective: the rate of a large product in the compute dtype, the best of ten, run by all ranks at once; their sum.
  double ceiling_flops_per_s();
  /// Of the last run().
  StepMemory memory() const { return {arena_.peak_bytes(), arena_.peak_bytes(Use::vectors), arena_.peak_beyond_vectors()}; }
  /// Of this rank in the last run().
  ChunkCounts chunks() const { return objective_.chunks(); }
  /// Forward and backward of this rank's tokens: encoder_flops().
  double flops(const Batch& batch) const { return encoder_flops(config_.encoder, batch.tokens()); }

  /// In the compute dtype; null where options.ceiling_edge is 0.
  const LargeProduct* large_product() const { return product_ ? &*product_ : nullptr; }
  int64_t embedding() const { return config_.embedding(); }
  Device device() const { return backend_->device(); }
  const Cores& cores() const { return cores_; }
  std::string backend_description() const { return backend_->description(); }

 private:
  EmbeddingObjective objective(const Group& group) { return {encoder_, loss_, group, objective_options(options_)}; }
  void enqueue_gradients(const Batch& batch);

  World& world_;
  BenchOptions options_;
  EmbedderConfig config_;
  Cores cores_;
  std::unique_ptr<Backend> backend_;
  Planes planes_;
  DType compute_;
  ParamStore params_;
  Buffer grads_memory_;
  Tensor grads_;
  Encoder encoder_;
  WatchedLoss loss_;
  EmbeddingObjective objective_;
  AdamW optimizer_;
  GradSync sync_;
  StepResults results_;
  std::optional<LargeProduct> product_;
  Arena arena_;  // behind all that has a size of its own, as in a run
  Exec ex_;
  uint64_t steps_ = 0;
};

}  // namespace lodestone
