// Loss: sentence vectors in, this rank's share of the global mean and the exact gradient out.
#pragma once

#include <cstdint>

#include "comm/communicator.h"
#include "core/exec.h"
#include "losses/loss_memory.h"

namespace lodestone {

/// What a loss counted, for the log.
struct LossCounts {
  int64_t masked_candidates = 0;  // scores left out because the passage is a false negative of the query
  LossCounts& operator+=(const LossCounts& other) {
    masked_candidates += other.masked_candidates;
    return *this;
  }
};

/// A loss owns its exchange between ranks. Normalisation rule: the loss is divided by the *global* count, so that the sum over
/// ranks of the returned shares is the global mean, and the sum over ranks of parameter gradients is its gradient.
class Loss {
 public:
  virtual ~Loss() = default;
  /// emb [texts,E] un-normalised, wide dtype, ordered as Pairs says; d_emb [texts,E] = weight * gradient for this rank's
  /// rows (set, not added). Returns weight * this rank's share of the global mean. Every rank of `group` calls it.
  virtual double evaluate(Exec& ex, Communicator& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb) = 0;
  /// What evaluate() takes of ex.arena at most.
  virtual LossMemory memory(const VectorBatch& batch) const = 0;
  /// What this rank counted in the latest evaluate(); the sum over ranks is the batch's.
  virtual LossCounts counts() const { return {}; }
};

}  // namespace lodestone
