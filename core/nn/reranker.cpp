#include "core/nn/reranker.h"

#include <algorithm>

#include "core/nn/layout.h"

namespace lodestone {

namespace {

/// What take_rows() takes for a matrix of the wide dtype.
size_t row_bytes(const Exec& ex, int64_t rows, int64_t columns) { return Arena::taken_bytes(ex.wide(), {padded_rows(ex, rows), columns}); }

}  // namespace

Reranker::Reranker(RerankerConfig config, const ParamStore& params, Checkpointing checkpointing)
    : config_(config), params_(params), encoder_(config.body(), params, checkpointing), head_(make_score_head(config, params.layout())) {}

void Reranker::forward(Exec& ex, const TokenBatch& tokens, Tensor scores) const {
  if (tokens.texts() == 0) return;
  const auto scope = ex.arena.scope();
  const ScoreHead::Saved saved = head_.take(ex, tokens.texts());
  encoder_.forward(ex, tokens, saved.x.real());
  head_.forward(ex, params_, tokens, saved, scores);
}

RerankerSaved Reranker::forward_saved(Exec& ex, const TokenBatch& tokens, Tensor scores) const {
  if (tokens.texts() == 0) return {};
  RerankerSaved saved;
  saved.head = head_.take(ex, tokens.texts());
  saved.encoder = encoder_.forward_saved(ex, tokens, saved.head.x.real());
  head_.forward(ex, params_, tokens, saved.head, scores);
  return saved;
}

void Reranker::backward(Exec& ex, const TokenBatch& tokens, const RerankerSaved& saved, ConstTensor d_scores, Tensor grads,
                        const std::function<void(Slice)>& ready) const {
  const auto scope = ex.arena.scope();
  const Activation d_vectors = take_rows(ex, ex.wide(), tokens.texts(), config_.encoder.hidden, Padding::any);
  if (tokens.texts() > 0) head_.backward(ex, params_, tokens, saved.head, d_scores, d_vectors, grads);
  if (ready) ready(head_.slice());
  encoder_.backward(ex, tokens, saved.encoder, d_vectors.real(), grads, ready);
}

size_t Reranker::saved_bytes(const Exec& ex, int64_t tokens, int64_t texts) const {
  return texts == 0 ? 0 : row_bytes(ex, texts, config_.encoder.hidden) + encoder_.saved_bytes(ex, tokens, texts);
}

// Forward holds the vectors beside the encoder's work or the score head's, backward their gradient beside one of the two.
size_t Reranker::work_bytes(const Exec& ex, int64_t tokens, int64_t texts) const {
  if (texts == 0) return 0;
  const size_t mask = config_.classifier_dropout > 0 ? Arena::taken_bytes<int64_t>(texts + 1) : 0;
  return row_bytes(ex, texts, config_.encoder.hidden) + std::max(row_bytes(ex, texts, 1) + mask, encoder_.work_bytes(ex, tokens, texts));
}

}  // namespace lodestone
