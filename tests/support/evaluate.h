// Losses and objectives as tests call them: with their share of the loss on the host.
#pragma once

#include <vector>

#include "losses/objective.h"

namespace lodestone::test {

struct Evaluated {
  double share = 0;
  LossCounts counts = {};
  std::vector<double> scores = {};
};

inline Evaluated evaluate(Loss& loss, Exec& ex, const Group& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb) {
  const auto scope = ex.arena.scope();
  const Tensor share = zero_total(ex);
  const LossResult result = loss.evaluate(ex, group, emb, pairs, weight, d_emb, share);
  return {fetch<double>(ex.backend, ex.arena, share)[0], result.counts, {result.scores.begin(), result.scores.end()}};
}

inline double accumulate(Objective& objective, Exec ex, const Batch& batch, double weight, Tensor grads, const GradHook& ready) {
  const auto scope = ex.arena.scope();
  const Tensor share = zero_total(ex);
  objective.accumulate(ex, batch, weight, grads, share, ready);
  return fetch<double>(ex.backend, ex.arena, share)[0];
}

inline double evaluate(Objective& objective, Exec ex, const Batch& batch) {
  const auto scope = ex.arena.scope();
  const Tensor share = zero_total(ex);
  objective.evaluate(ex, batch, share);
  return fetch<double>(ex.backend, ex.arena, share)[0];
}

}  // namespace lodestone::test
