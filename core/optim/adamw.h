// AdamW: moments, decay groups and step count of the optimizer.
#pragma once

#include "core/params.h"

namespace lodestone {

struct AdamWConfig {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0.01;
};

/// AdamW with bias correction and decoupled decay (Loshchilov & Hutter, ICLR 2019), as torch.optim.AdamW computes it. Parameters
/// marked Decay::no (biases, LayerNorm) are not decayed. State views are what a checkpoint stores; write through them to restore.
class AdamW {
 public:
  /// Zero moments for a vector of layout.count() elements in the wide dtype (f64 or f32).
  AdamW(AdamWConfig config, const ParamLayout& layout, DType wide);

  /// One update of the masters and of their rounded copy: masters -= lr * (update of gradient_scale * grads, plus decay).
  /// grads flat [n], wide dtype; unchanged.
  void step(Exec& ex, double lr, double gradient_scale, ConstTensor grads, ParamStore& params);

  const AdamWConfig& config() const { return config_; }
  Tensor first_moments() const { return first_.tensor(wide_, {count_}); }     // m [n]
  Tensor second_moments() const { return second_.tensor(wide_, {count_}); }   // v [n]
  /// Updates made so far; the next one is step t = steps() + 1 of the formula.
  int64_t steps() const { return steps_; }
  void restore_steps(int64_t steps) { steps_ = steps; }

 private:
  AdamWConfig config_;
  std::vector<ParamLayout::Run> runs_;
  int64_t count_;
  DType wide_;
  Buffer first_, second_;
  int64_t steps_ = 0;
};

}  // namespace lodestone
