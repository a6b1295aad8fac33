// Clipping: by what a gradient is multiplied so that its norm does not exceed a limit.
#pragma once

#include <algorithm>

namespace lodestone {

/// min(1, max_norm / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_ computes it. max_norm <= 0 means no limit.
inline double clip_scale(double norm, double max_norm) {
  return max_norm <= 0 ? 1.0 : std::min(1.0, max_norm / (norm + 1e-6));
}

}  // namespace lodestone
