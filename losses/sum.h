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

/// loss = sum_k weight_k loss_k, and so the counts. Terms are evaluated in their order, on every rank.
class SumLoss final : public Loss {
 public:
  /// Throws Error (usage, "config") if there is no term, or a weight is refused.
  explicit SumLoss(std::vector<WeightedLoss> terms);
  LossResult evaluate(Exec& ex, const Group& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb,
                      Tensor share) override;

 private:
  std::vector<WeightedLoss> terms_;
};

}  // namespace lodestone
