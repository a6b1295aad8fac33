#include "losses/sum.h"

namespace lodestone {

std::optional<Refusal> refused_terms(size_t terms) {
  if (terms > 0) return std::nullopt;
  return Refusal{"terms", "a sum has no terms", "give loss.terms.NAME.name and loss.terms.NAME.weight for each"};
}

SumLoss::SumLoss(std::vector<WeightedLoss> terms) : terms_(std::move(terms)) {
  require_settings(refused_terms(terms_.size()));
  for (const WeightedLoss& term : terms_) require_settings(refused_weight("terms.weight", term.weight));
}

double SumLoss::evaluate(Exec& ex, Communicator& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb) {
  const auto scope = ex.arena.scope();
  const Tensor d_term = ex.arena.tensor(d_emb.dtype(), d_emb.shape());
  double loss = 0;
  ex.backend.fill_zero(d_emb);
  for (const WeightedLoss& term : terms_) {
    loss += term.loss->evaluate(ex, group, emb, pairs, weight * term.weight, d_term);
    ex.backend.axpy(1, d_term, d_emb);
  }
  return loss;
}

LossMemory SumLoss::memory(const VectorBatch& batch) const {
  LossMemory most;
  for (const WeightedLoss& term : terms_) most = larger(most, term.loss->memory(batch));
  return most + LossMemory{batch.vectors(batch.texts()), 0};
}

LossCounts SumLoss::counts() const {
  LossCounts total;
  for (const WeightedLoss& term : terms_) total += term.loss->counts();
  return total;
}

}  // namespace lodestone
