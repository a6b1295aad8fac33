// Loss: sentence vectors in, this rank's share of the global mean and the exact gradient out.
#pragma once

#include <cstdint>

#include "comm/group.h"
#include "core/batch.h"
#include "core/exec.h"

namespace lodestone {

/// What a loss counted, for the log.
struct LossCounts {
  int64_t masked_candidates = 0;  // scores left out because the passage is a false negative of the query
  LossCounts& operator+=(const LossCounts& other) {
    masked_candidates += other.masked_candidates;
    return *this;
  }
};

/// What a loss found, beside its share and its gradient, which stay on the device.
struct LossResult {
  LossCounts counts = {};               // of this rank; the sum over ranks is the batch's
  std::span<const double> scores = {};  // [B (G-1)] of ScoredLoss: of queries and their own negatives, until its next call
};

/// A loss owns its exchange between ranks. Normalisation rule: the loss is divided by the *global* count, so that the sum over
/// ranks of the shares is the global mean, and the sum over ranks of parameter gradients is its gradient.
class Loss {
 public:
  virtual ~Loss() = default;
  /// emb [texts,E] un-normalised, wide dtype, ordered as Pairs says; d_emb [texts,E] = weight * gradient for this rank's
  /// rows (set, not added). share (f64 [1]) += weight * this rank's share of the global mean. Every rank of `group` calls it. Nothing is
  /// downloaded, unless a loss says so.
  virtual LossResult evaluate(Exec& ex, const Group& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb,
                              Tensor share) = 0;
};

/// Zero, on the device, until the innermost scope ends.
inline Tensor zero_total(Exec& ex) {
  const Tensor total = ex.arena.tensor(DType::f64, {1});
  ex.backend.fill_zero(total);
  return total;
}

}  // namespace lodestone
