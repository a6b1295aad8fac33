#include "losses/matryoshka.h"

namespace lodestone {

double Matryoshka::evaluate(Exec& ex, Communicator& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb) {
  const int64_t texts = emb.dim(0);
  const double share = weight / static_cast<double>(dims_.size());
  double loss = 0;
  ex.backend.fill_zero(d_emb);
  for (const int64_t d : dims_) {
    const auto scope = ex.arena.scope();
    const Tensor prefix = ex.arena.tensor(emb.dtype(), {texts, d}), d_prefix = ex.arena.tensor(emb.dtype(), {texts, d});
    const Tensor norms = ex.arena.tensor(emb.dtype(), {texts});
    ex.backend.l2_normalize_forward(emb, prefix, norms);
    loss += inner_->evaluate(ex, group, prefix, pairs, share, d_prefix);
    ex.backend.l2_normalize_backward(d_prefix, prefix, norms, d_emb);
  }
  return loss;
}

LossMemory Matryoshka::memory(const VectorBatch& batch) const {
  LossMemory most;
  for (const int64_t d : dims_) {
    VectorBatch prefix = batch;
    prefix.embedding = d;
    most = larger(most, LossMemory{2 * prefix.vectors(batch.texts()), batch.numbers(batch.texts())} + inner_->memory(prefix));
  }
  return most;
}

}  // namespace lodestone
