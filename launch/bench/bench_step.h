// One whole training step on random texts with random weights, on all ranks: what it takes, and what it counts.
#pragma once

#include <memory>
#include <string>

#include "comm/grad_sync.h"
#include "comm/world.h"
#include "core/optim/adamw.h"
#include "launch/bench/bench_loss.h"
#include "launch/console/cores.h"
#include "losses/embedding_objective.h"

namespace lodestone {

struct BenchOptions {
  std::string model = "minilm";   // or bert-base
  std::string lengths = "dense";  // 128 tokens a text; real: queries of 5 to 20, passages of 16 to 128; short: 4 to 8; or a number
  std::string precision = "bf16";
  std::string loss = "info_nce";  // of bench_losses()
  int64_t group = 1;              // G: passages per query
  int64_t threads = 0;            // of each rank; 0: the cores that it may use
  int64_t pairs = 32;             // N: of the global batch
  int64_t steps = 5, chunk_tokens = 1024, keep_mb = 4096;
};

/// On the clock, and of the processor by all threads of this process: the second hardly depends on what else the machine does.
struct Seconds {
  double wall = 0, processor = 0;

  static Seconds now();
  Seconds operator-(const Seconds& other) const { return {wall - other.wall, processor - other.processor}; }
  Seconds operator*(double factor) const { return {wall * factor, processor * factor}; }
};

/// Of one step; of each figure the largest of all ranks.
struct StepCounts {
  Seconds whole, loss, update;  // update: the gradients' sum over ranks, their norm, AdamW
  Seconds encoder() const { return whole - loss - update; }
  int64_t page_faults = 0;
  int64_t allocations = 0;  // calls of operator new, by all threads
};

/// Step memory of this rank in one step. The vectors of texts and their gradients grow with the batch and are counted from shapes;
/// the rest should not grow.
struct StepMemory {
  size_t peak_bytes = 0;
  size_t vectors_bytes = 0;  // the most that are held at once: while the loss runs, gathered copies included
  size_t beyond_bytes = 0;   // the largest, over first pass, loss and second pass, of its peak less the vectors held in it
};

/// A loss that notes how long it took, and how much step memory was in use before and while it ran.
class WatchedLoss final : public Loss {
 public:
  explicit WatchedLoss(std::unique_ptr<Loss> loss) : loss_(std::move(loss)) {}
  double evaluate(Exec& ex, Communicator& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb) override;
  LossMemory memory(const VectorBatch& batch) const override { return loss_->memory(batch); }
  size_t peak_before() const { return before_; }
  size_t used_before() const { return used_; }  // when it began
  size_t peak() const { return peak_; }
  Seconds seconds() const { return seconds_; }

 private:
  std::unique_ptr<Loss> loss_;
  size_t before_ = 0, used_ = 0, peak_ = 0;
  Seconds seconds_;
};

/// Everything that a training run owns on one rank, without data.
class BenchStep {
 public:
  BenchStep(World& world, const BenchOptions& options);

  /// This rank's part of a global batch of N queries with G passages each; lengths come from a fixed seed, the same at any number
  /// of ranks. Rows have teacher scores, and with G = 1 a gold score.
  Batch batch(int64_t queries, int64_t group) const;
  /// Collective: gradients of all chunks, their sum over ranks, clipping, AdamW.
  StepCounts run(const Batch& batch);
  /// Collective: the loss alone (value and gradient), on random vectors for the texts of `batch`; the slowest rank's.
  Seconds loss_seconds(Loss& loss, const Batch& batch);
  /// Writes to as much step memory as a step of `batch` takes at most beside what the last run() took, so that no page is new to it.
  void touch(const Batch& batch, const Loss& loss);
  /// Collective: the rate of a large product in the compute dtype, the best of ten, run by all ranks at once; their sum.
  double ceiling_flops_per_s();
  /// Of the last run().
  StepMemory memory(const Batch& batch) const;
  /// Forward and backward of this rank's tokens: 6 flops per product weight and token, 12 L T H for attention (no recomputation).
  double flops(const Batch& batch) const;

  const Loss& loss() const { return loss_; }  // of its steps
  int64_t embedding() const { return config_.embedding(); }
  const Cores& cores() const { return cores_; }
  std::string backend_description() const { return backend_->description(); }

 private:
  /// Bytes of texts' vectors, of this rank, and of the vectors that the loss takes beside them.
  struct VectorBytes {
    size_t texts, loss;
  };
  VectorBytes vector_bytes(const Batch& batch, const Loss& loss) const;

  World& world_;
  BenchOptions options_;
  EmbedderConfig config_;
  Cores cores_;
  std::unique_ptr<Backend> backend_;
  Arena arena_;
  Exec ex_;
  ParamStore params_;
  Buffer grads_memory_;
  Tensor grads_;
  Encoder encoder_;
  WatchedLoss loss_;
  EmbeddingObjective objective_;
  AdamW optimizer_;
  GradSync sync_;
  uint64_t steps_ = 0;
};

}  // namespace lodestone
