// Clipping: by what a gradient is multiplied so that its norm does not exceed a limit.
#pragma once

#include <algorithm>

namespace lodestone {

/// min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_ computes it. max_norm <= 0 means no limit.
inline double clip_scale(double norm, double max_norm) { return max_norm <= 0 ? 1.0 : std::min(1.0, max_norm / (norm + 1e-6)); }

struct ScaledGradient {
  double norm = 0;    // of the gradient that is clipped
  double factor = 1;  // what the optimizer multiplies into the summed gradient: its gradient_scale
};

/// The summed gradient of a loss that was multiplied by loss_scale has norm `summed_norm`; the gradient meant is that sum times
/// ref_scale / loss_scale, clipped at max_norm. ref_scale is 1, or 1/W to repeat runs of trainers that average over W ranks a
/// gradient that is already the whole one: Adam hardly notices, but the limit becomes W times looser.
inline ScaledGradient scaled_gradient(double summed_norm, double loss_scale, double ref_scale, double max_norm) {
  const double meant = ref_scale / loss_scale;
  return {summed_norm * meant, meant * clip_scale(summed_norm * meant, max_norm)};
}

}  // namespace lodestone
