#include "losses/group_scores.h"

#include "losses/candidates.h"

namespace lodestone {

GroupScores::GroupScores(Exec& ex, ConstTensor emb, const Pairs& pairs, Similarity similarity) : vectors_(emb), similarity_(similarity) {
  const int64_t texts = pairs.queries * (1 + pairs.group);
  LODE_CHECK(emb.shape().rank() == 2 && emb.dim(0) == texts, "group scores: emb ", emb.shape(), " for ", pairs.queries,
             " queries of group ", pairs.group);
  if (similarity == Similarity::cosine) {
    const Tensor unit = take_vectors(ex, emb.dtype(), emb.shape()), norms = ex.arena.tensor(emb.dtype(), {texts});
    ex.backend.l2_normalize_forward(emb, unit, norms);
    vectors_ = unit;
    norms_ = norms;
  }
  scores_ = ex.arena.tensor(DType::f64, {pairs.queries, pairs.group});
  ex.backend.group_dots(vectors_.rows(0, pairs.queries), vectors_.rows(pairs.queries, texts), scores_);
}

void GroupScores::backward(Exec& ex, ConstTensor d_scores, Tensor d_emb) const {
  LODE_CHECK(d_scores.shape() == scores_.shape() && d_emb.shape() == vectors_.shape(), "group scores: d_emb ", d_emb.shape(), " and ",
             d_scores.shape(), " gradients for scores ", scores_.shape());
  const auto scope = ex.arena.scope();
  const Tensor d_vectors = similarity_ == Similarity::cosine ? take_vectors(ex, d_emb.dtype(), d_emb.shape()) : d_emb;
  const int64_t queries = scores_.dim(0), texts = vectors_.dim(0);
  ex.backend.group_dots_backward(d_scores, vectors_.rows(0, queries), vectors_.rows(queries, texts), d_vectors.rows(0, queries),
                                 d_vectors.rows(queries, texts));
  if (similarity_ == Similarity::dot) return;
  ex.backend.fill_zero(d_emb);
  ex.backend.l2_normalize_backward(d_vectors, vectors_, norms_, d_emb);
}

}  // namespace lodestone
