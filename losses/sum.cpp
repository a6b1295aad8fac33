#include "losses/sum.h"

#include "losses/candidates.h"

namespace lodestone {

std::optional<Refusal> refused_terms(size_t terms) {
  if (terms > 0) return std::nullopt;
  return Refusal{"terms", "a sum has no terms", "give loss.terms.NAME.name and loss.terms.NAME.weight for each"};
}

SumLoss::SumLoss(std::vector<WeightedLoss> terms) : terms_(std::move(terms)) {
  require_settings(refused_terms(terms_.size()));
  for (const WeightedLoss& term : terms_) require_settings(refused_weight("terms.weight", term.weight));
}

LossResult SumLoss::evaluate(Exec& ex, const Group& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb, Tensor share) {
  const auto scope = ex.arena.scope();
  const Tensor sum = zero_total(ex), of_term = ex.arena.tensor(DType::f64, {1}), d_term = take_vectors(ex, d_emb.dtype(), d_emb.shape());
  LossResult result;
  ex.backend.fill_zero(d_emb);
  for (const WeightedLoss& term : terms_) {
    ex.backend.fill_zero(of_term);
    result.counts += term.loss->evaluate(ex, group, emb, pairs, weight * term.weight, d_term, of_term).counts;
    ex.backend.axpy(1, of_term, sum);
    ex.backend.axpy(1, d_term, d_emb);
  }
  ex.backend.axpy(1, sum, share);
  return result;
}

}  // namespace lodestone
