#include "losses/matryoshka.h"

#include "losses/candidates.h"

namespace lodestone {

LossResult Matryoshka::evaluate(Exec& ex, const Group& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb,
                                Tensor share) {
  const int64_t texts = emb.dim(0);
  const double of_one = weight / static_cast<double>(dims_.size());
  const auto outer = ex.arena.scope();
  const Tensor sum = zero_total(ex), of_prefix = ex.arena.tensor(DType::f64, {1});
  LossResult result;
  ex.backend.fill_zero(d_emb);
  for (const int64_t d : dims_) {
    const auto scope = ex.arena.scope();
    const Tensor prefix = take_vectors(ex, emb.dtype(), {texts, d}), d_prefix = take_vectors(ex, emb.dtype(), {texts, d});
    const Tensor norms = ex.arena.tensor(emb.dtype(), {texts});
    ex.backend.l2_normalize_forward(emb, prefix, norms);
    ex.backend.fill_zero(of_prefix);
    result = inner_->evaluate(ex, group, prefix, pairs, of_one, d_prefix, of_prefix);
    ex.backend.axpy(1, of_prefix, sum);
    ex.backend.l2_normalize_backward(d_prefix, prefix, norms, d_emb);
  }
  ex.backend.axpy(1, sum, share);
  return result;
}

}  // namespace lodestone
