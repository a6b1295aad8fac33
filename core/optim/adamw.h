// AdamW: moments, decay groups and step count of the optimizer.
#pragma once

#include "core/params.h"

namespace lodestone {

struct AdamWConfig {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.01;
};

/// Which elements of the flat vector an optimizer updates: `own`, all of them or one rank's share, less the frozen ranges
/// (whole parameters). Frozen elements keep their value: no decay, and moments that stay zero.
struct UpdateRange {
  Slice own;
  std::vector<Slice> frozen = {};
};

/// AdamW with bias correction and decoupled decay (Loshchilov & Hutter, ICLR 2019), as torch.optim.AdamW computes it. Parameters
/// marked Decay::no (biases, LayerNorm) are not decayed. State views are what a checkpoint stores; write through them to restore.
class AdamW {
 public:
  /// Zero moments for the elements of range.own in the wide dtype (f64 or f32). `memory`, that of the backend of step(), must outlive them.
  AdamW(Memory& memory, AdamWConfig config, const ParamLayout& layout, DType wide, const UpdateRange& range);
  /// Updates the whole vector.
  AdamW(Memory& memory, AdamWConfig config, const ParamLayout& layout, DType wide)
      : AdamW(memory, config, layout, wide, {{0, layout.count()}, {}}) {}

  /// One update of own()'s masters: masters -= lr * (update of gradient_scale * grads, plus decay). Their rounded copy follows
  /// when own() is everything; otherwise the masters must be shared and refreshed first (GradSync::share does both).
  /// grads flat [n], wide dtype; unchanged, and read in own() only.
  void step(Exec& ex, double lr, double gradient_scale, ConstTensor grads, ParamStore& params);

  const AdamWConfig& config() const { return config_; }
  /// The elements whose moments are held here.
  Slice own() const { return own_; }
  Tensor first_moments() const { return first_.tensor(wide_, {own_.count()}); }    // m of own()
  Tensor second_moments() const { return second_.tensor(wide_, {own_.count()}); }  // v of own()
  /// Updates made so far; the next one is step t = steps() + 1 of the formula.
  int64_t steps() const { return steps_; }
  void restore_steps(int64_t steps) { steps_ = steps; }

 private:
  /// Maximal runs of equal decay among the elements that are updated, from own.begin on.
  static std::vector<UpdateRun> update_runs(const ParamLayout& layout, const UpdateRange& range);

  AdamWConfig config_;
  Slice own_;
  std::vector<UpdateRun> runs_;
  int64_t count_;
  DType wide_;
  Buffer first_, second_;
  int64_t steps_ = 0;
};

}  // namespace lodestone
