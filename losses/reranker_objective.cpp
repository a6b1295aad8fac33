#include "losses/reranker_objective.h"

#include "core/step_texts.h"

namespace lodestone {

namespace {

/// The elements of texts [begin, end), or nothing where a batch has none.
template <class T>
std::span<const T> texts_of(const std::vector<T>& all, int64_t begin, int64_t end) {
  if (all.empty()) return {};
  return std::span(all).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
}

void check_batch(const Batch& batch) {
  const auto texts = static_cast<int64_t>(batch.offsets.size()) - 1;
  LODE_CHECK(texts == batch.queries * batch.group, "a reranker's batch has ", texts, " pairs for ", batch.queries, " queries in groups of ",
             batch.group);
}

}  // namespace

RerankerObjective::RerankerObjective(const Reranker& reranker, const RerankerOptions& options) : reranker_(reranker), options_(options) {}

RerankerObjective::Chunk RerankerObjective::chunk_at(const Batch& batch, int64_t query) {
  const auto place = [&](int64_t q) { return batch.offsets[static_cast<size_t>(q * batch.group)]; };
  int64_t next = query + 1;
  while (next < batch.queries && place(next + 1) - place(query) <= options_.chunk_tokens) ++next;
  const int64_t begin = query * batch.group, end = next * batch.group, first = place(query);
  offsets_.clear();
  for (int64_t b = begin; b <= end; ++b) offsets_.push_back(batch.offsets[static_cast<size_t>(b)] - first);
  const auto ids = std::span(batch.ids).subspan(static_cast<size_t>(first), static_cast<size_t>(offsets_.back()));
  return {{ids, offsets_, texts_of(batch.keys, begin, end), texts_of(batch.second, begin, end)},
          texts_of(batch.teacher_scores, begin, end),
          next};
}

void RerankerObjective::loss(Exec& ex, const Chunk& chunk, const Batch& batch, double weight, ConstTensor scores, Tensor d_scores,
                             Tensor share) const {
  const auto scope = ex.arena.scope();
  const Shape groups{scores.count() / batch.group, batch.group};
  const Tensor exact = ex.arena.tensor(DType::f64, groups), d_exact = ex.arena.tensor(DType::f64, groups), total = zero_total(ex);
  ex.backend.cast(scores.reshape(groups), exact);
  group_loss(ex, options_.loss, exact, chunk.teacher_scores, weight / static_cast<double>(batch.global_queries), d_exact, total);
  ex.backend.axpy(1, total, share);
  ex.backend.cast(d_exact, d_scores.reshape(groups));
}

LossResult RerankerObjective::accumulate(Exec ex, const Batch& batch, double weight, Tensor grads, Tensor share, const GradHook& ready) {
  check_batch(batch);
  const GradHook not_yet;
  const FillLimits limits{.tokens = options_.chunk_tokens, .longest = reranker_.config().encoder.longest_text()};
  for (int64_t query = 0; query < batch.queries;) {
    const auto scope = ex.arena.scope();
    const Chunk chunk = chunk_at(batch, query);
    const DeviceTexts texts = upload_step_texts(ex, chunk.tokens, limits);
    const Shape shape{texts.given_texts()};
    const Tensor scores = ex.arena.tensor(ex.wide(), shape), d_scores = ex.arena.tensor(ex.wide(), shape);
    const RerankerSaved saved = reranker_.forward_saved(ex, texts, scores);
    loss(ex, chunk, batch, weight, scores, d_scores, share);
    query = chunk.next_query;
    reranker_.backward(ex, texts, saved, d_scores, grads, query == batch.queries ? ready : not_yet);
  }
  if (batch.queries == 0) reranker_.backward(ex, {}, {}, Tensor{}, grads, ready);  // no pair here: reports its slices all the same
  return {};
}

void RerankerObjective::evaluate(Exec ex, const Batch& batch, Tensor share) {
  const auto scope = ex.arena.scope();
  evaluate(ex, batch, share, ex.arena.tensor(DType::f64, {batch.queries * batch.group}));
}

void RerankerObjective::evaluate(Exec ex, const Batch& batch, Tensor share, Tensor all) {
  check_batch(batch);
  LODE_CHECK(all.count() == batch.queries * batch.group, "reranker: room for ", all.shape(), " scores of ", batch.queries,
             " queries in groups of ", batch.group);
  for (int64_t query = 0; query < batch.queries;) {
    const auto scope = ex.arena.scope();
    const Chunk chunk = chunk_at(batch, query);
    const DeviceTexts texts = upload_texts(ex.backend, ex.arena, chunk.tokens).without_dropout();
    const Shape shape{texts.texts()};
    const Tensor scores = ex.arena.tensor(ex.wide(), shape);
    reranker_.forward(ex, texts, scores);
    loss(ex, chunk, batch, 1, scores, ex.arena.tensor(ex.wide(), shape), share);
    ex.backend.cast(scores, all.slice({query * batch.group, chunk.next_query * batch.group}));
    query = chunk.next_query;
  }
}

}  // namespace lodestone
