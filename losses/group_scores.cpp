#include "losses/group_scores.h"

#include <algorithm>

namespace lodestone {

namespace {

/// vectors [B+B*G,E]: row B + j is passage j, its query j / G.
template <class T>
void dot_products(ConstTensor vectors, int64_t queries, int64_t group, std::span<double> scores) {
  const auto x = vectors.host<T>();
  const auto width = static_cast<size_t>(vectors.dim(1));
  for (size_t j = 0; j < scores.size(); ++j) {
    const T* q = x.data() + j / static_cast<size_t>(group) * width;
    const T* p = x.data() + (static_cast<size_t>(queries) + j) * width;
    double sum = 0;
    for (size_t e = 0; e < width; ++e) sum += static_cast<double>(q[e]) * static_cast<double>(p[e]);
    scores[j] = sum;
  }
}

template <class T>
void dot_products_backward(ConstTensor vectors, int64_t queries, int64_t group, std::span<const double> d_scores, Tensor d_vectors) {
  const auto x = vectors.host<T>();
  const auto dx = d_vectors.host<T>();
  const auto width = static_cast<size_t>(vectors.dim(1)), own = static_cast<size_t>(queries) * width;
  std::fill_n(dx.begin(), own, T{0});
  for (size_t j = 0; j < d_scores.size(); ++j) {
    const auto ds = static_cast<T>(d_scores[j]);
    const size_t query = j / static_cast<size_t>(group) * width, passage = own + j * width;
    for (size_t e = 0; e < width; ++e) {
      dx[query + e] += ds * x[passage + e];
      dx[passage + e] = ds * x[query + e];
    }
  }
}

}  // namespace

GroupScores::GroupScores(Exec& ex, ConstTensor emb, const Pairs& pairs, Similarity similarity)
    : vectors_(emb), queries_(pairs.queries), group_(pairs.group), similarity_(similarity) {
  const int64_t texts = pairs.queries * (1 + pairs.group);
  LODE_CHECK(emb.shape().rank() == 2 && emb.dim(0) == texts, "group scores: emb ", emb.shape(), " for ", pairs.queries,
             " queries of group ", pairs.group);
  if (similarity == Similarity::cosine) {
    const Tensor unit = ex.arena.tensor(emb.dtype(), emb.shape()), norms = ex.arena.tensor(emb.dtype(), {texts});
    ex.backend.l2_normalize_forward(emb, unit, norms);
    vectors_ = unit;
    norms_ = norms;
  }
  scores_ = ex.arena.array<double>(queries_ * group_);
  if (emb.dtype() == DType::f64)
    dot_products<double>(vectors_, queries_, group_, scores_);
  else
    dot_products<float>(vectors_, queries_, group_, scores_);
}

LossMemory GroupScores::memory(const VectorBatch& batch, Similarity similarity) {
  const LossMemory scores{0, batch.words(batch.pairs.queries * batch.pairs.group)};
  if (similarity == Similarity::dot) return scores;
  return scores + LossMemory{2 * batch.vectors(batch.texts()), batch.numbers(batch.texts())};
}

void GroupScores::backward(Exec& ex, std::span<const double> d_scores, Tensor d_emb) const {
  LODE_CHECK(d_scores.size() == scores_.size() && d_emb.shape() == vectors_.shape(), "group scores: d_emb ", d_emb.shape(), " and ",
             d_scores.size(), " gradients for ", scores_.size(), " scores");
  const auto scope = ex.arena.scope();
  const Tensor d_vectors = similarity_ == Similarity::cosine ? ex.arena.tensor(d_emb.dtype(), d_emb.shape()) : d_emb;
  if (d_emb.dtype() == DType::f64)
    dot_products_backward<double>(vectors_, queries_, group_, d_scores, d_vectors);
  else
    dot_products_backward<float>(vectors_, queries_, group_, d_scores, d_vectors);
  if (similarity_ == Similarity::dot) return;
  ex.backend.fill_zero(d_emb);
  ex.backend.l2_normalize_backward(d_vectors, vectors_, norms_, d_emb);
}

}  // namespace lodestone
