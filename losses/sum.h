// SumLoss: several losses over the same batch, added with weights.
#pragma once

#include <memory>
#include <vector>

#include "losses/loss.h"
#include "losses/settings.h"

namespace lodestone {

/// One term of a sum.
struct WeightedLoss {
  std::unique_ptr<Loss> loss;
  double weight = 1;
};

/// A sum without terms.
std::optional<Refusal> refused_terms(size_t terms);

/// loss = sum_k weight_k loss_k. Terms are evaluated in their order, on every rank.
class SumLoss final : public Loss {
 public:
  /// Throws Error (usage, "config") if there is no term, or a weight is refused.
  explicit SumLoss(std::vector<WeightedLoss> terms);
  double evaluate(Exec& ex, Communicator& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb) override;
  LossMemory memory(const VectorBatch& batch) const override;
  /// The sum of its terms' counts.
  LossCounts counts() const override;

 private:
  std::vector<WeightedLoss> terms_;
};

}  // namespace lodestone
