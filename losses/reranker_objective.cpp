#include "losses/reranker_objective.h"

#include <algorithm>

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

double RerankerObjective::loss(Exec& ex, const Chunk& chunk, const Batch& batch, double weight, ConstTensor scores, Tensor d_scores) const {
  const auto scope = ex.arena.scope();
  const Tensor exact = ex.arena.tensor(DType::f64, scores.shape()), d_exact = ex.arena.tensor(DType::f64, scores.shape());
  ex.backend.cast(scores, exact);
  const double share = group_loss(options_.loss, exact.host<double>(), chunk.teacher_scores, batch.group,
                                  weight / static_cast<double>(batch.global_queries), d_exact.host<double>());
  ex.backend.cast(d_exact, d_scores);
  return share;
}

double RerankerObjective::accumulate(Exec ex, const Batch& batch, double weight, Tensor grads, const GradHook& ready) {
  check_batch(batch);
  const GradHook not_yet;
  double share = 0;
  for (int64_t query = 0; query < batch.queries;) {
    const auto scope = ex.arena.scope();
    const Chunk chunk = chunk_at(batch, query);
    const Shape shape{chunk.tokens.texts()};
    const Tensor scores = ex.arena.tensor(ex.wide(), shape), d_scores = ex.arena.tensor(ex.wide(), shape);
    const RerankerSaved saved = reranker_.forward_saved(ex, chunk.tokens, scores);
    share += loss(ex, chunk, batch, weight, scores, d_scores);
    query = chunk.next_query;
    reranker_.backward(ex, chunk.tokens, saved, d_scores, grads, query == batch.queries ? ready : not_yet);
  }
  if (batch.queries == 0)  // no pair here: reports its slices all the same
    reranker_.backward(ex, batch.tokens(), {}, Tensor{}, grads, ready);
  return share;
}

size_t RerankerObjective::work_bytes(const Exec& ex, const Batch& batch) {
  check_batch(batch);
  size_t most = 0;
  for (int64_t query = 0; query < batch.queries;) {
    const Chunk chunk = chunk_at(batch, query);
    const int64_t texts = chunk.tokens.texts();
    const size_t scores = Arena::taken_bytes(ex.wide(), {texts}), exact = Arena::taken_bytes(DType::f64, {texts});
    most = std::max(most, 2 * scores + reranker_.saved_bytes(ex, chunk.tokens.tokens(), texts) +
                              std::max(2 * exact, reranker_.work_bytes(ex, chunk.tokens.tokens(), texts)));
    query = chunk.next_query;
  }
  return most;
}

double RerankerObjective::evaluate(Exec ex, const Batch& batch) {
  const auto scope = ex.arena.scope();
  return evaluate(ex, batch, ex.arena.array<double>(batch.queries * batch.group));
}

double RerankerObjective::evaluate(Exec ex, const Batch& batch, std::span<double> all) {
  check_batch(batch);
  LODE_CHECK(std::ssize(all) == batch.queries * batch.group, "reranker: room for ", all.size(), " scores of ", batch.queries,
             " queries in groups of ", batch.group);
  double share = 0;
  for (int64_t query = 0; query < batch.queries;) {
    const auto scope = ex.arena.scope();
    Chunk chunk = chunk_at(batch, query);
    chunk.tokens.keys = {};  // without keys nothing is dropped
    const Shape shape{chunk.tokens.texts()};
    const Tensor scores = ex.arena.tensor(ex.wide(), shape);
    reranker_.forward(ex, chunk.tokens, scores);
    share += loss(ex, chunk, batch, 1, scores, ex.arena.tensor(ex.wide(), shape));
    ex.backend.cast(scores, view(all).slice({query * batch.group, chunk.next_query * batch.group}));
    query = chunk.next_query;
  }
  return share;
}

}  // namespace lodestone
