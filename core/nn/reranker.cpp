#include "core/nn/reranker.h"

#include "core/nn/layout.h"

namespace lodestone {

Reranker::Reranker(RerankerConfig config, const ParamStore& params, Checkpointing checkpointing)
    : config_(config), params_(params), encoder_(config.body(), params, checkpointing), head_(make_score_head(config, params.layout())) {}

void Reranker::forward(Exec& ex, const DeviceTexts& texts, Tensor scores) const {
  if (texts.given_texts() == 0) return;
  const auto scope = ex.arena.scope();
  const ScoreHead::Saved saved = head_.take(ex, texts.given_texts());
  encoder_.forward(ex, texts, saved.x.real());
  head_.forward(ex, params_, texts, saved, scores);
}

RerankerSaved Reranker::forward_saved(Exec& ex, const DeviceTexts& texts, Tensor scores) const {
  if (texts.given_texts() == 0) return {};
  RerankerSaved saved;
  saved.head = head_.take(ex, texts.given_texts());
  saved.encoder = encoder_.forward_saved(ex, texts, saved.head.x.real());
  head_.forward(ex, params_, texts, saved.head, scores);
  return saved;
}

void Reranker::backward(Exec& ex, const DeviceTexts& texts, const RerankerSaved& saved, ConstTensor d_scores, Tensor grads,
                        const std::function<void(Slice)>& ready) const {
  const auto scope = ex.arena.scope();
  const Activation d_vectors = take_rows(ex, ex.wide(), texts.given_texts(), config_.encoder.hidden, Padding::any);
  if (texts.given_texts() > 0) head_.backward(ex, params_, texts, saved.head, d_scores, d_vectors, grads);
  if (ready) ready(head_.slice());
  encoder_.backward(ex, texts, saved.encoder, d_vectors.real(), grads, ready);
}

}  // namespace lodestone
