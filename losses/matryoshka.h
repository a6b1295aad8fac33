// Matryoshka: any loss, averaged over prefixes of the sentence vector, so that truncated vectors stay useful.
#pragma once

#include "losses/loss.h"

namespace lodestone {

/// loss = 1/m sum_d inner(first d components), for the m dims given (Kusupati et al. 2022; averaged, not summed).
/// The inner loss must depend on the directions of its vectors only, as every cosine loss does: it is handed the prefix of the
/// un-normalised vector scaled to unit length. Components beyond the largest dim get no gradient. Counts are those of one prefix: they are
/// the same at all.
class Matryoshka final : public Loss {
 public:
  Matryoshka(std::unique_ptr<Loss> inner, std::vector<int64_t> dims) : inner_(std::move(inner)), dims_(std::move(dims)) {}
  LossResult evaluate(Exec& ex, const Group& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb,
                      Tensor share) override;

 private:
  std::unique_ptr<Loss> inner_;
  std::vector<int64_t> dims_;
};

}  // namespace lodestone
