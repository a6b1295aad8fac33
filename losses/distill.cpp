#include "losses/distill.h"

#include "losses/group_loss.h"
#include "losses/settings.h"

namespace lodestone {

std::optional<Refusal> refused(const GroupDistillationOptions& options) {
  if (auto refusal = refused_temperature("temperature", options.temperature)) return refusal;
  return refused_temperature("teacher_temperature", options.teacher_temperature);
}

GroupDistillation::GroupDistillation(const GroupDistillationOptions& options) : options_(options) { require_settings(refused(options)); }

LossResult GroupDistillation::evaluate(Exec& ex, const Group&, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb,
                                       Tensor share) {
  require_teacher(pairs.teacher_scores, pairs.queries * pairs.group, "distillation");
  const auto scope = ex.arena.scope();
  const GroupScores cosines(ex, emb, pairs, Similarity::cosine);
  const double scale = 1 / options_.temperature, row_weight = weight / static_cast<double>(pairs.global_queries);
  const Shape shape = cosines.scores().shape();
  const Tensor logits = ex.arena.tensor(DType::f64, shape), d_logits = ex.arena.tensor(DType::f64, shape);
  ex.backend.scale(scale, cosines.scores(), logits);
  ex.backend.fill_zero(d_logits);
  const Entropy entropy = options_.form == DistillationForm::kl_divergence ? Entropy::removed : Entropy::kept;
  ex.backend.group_loss(GroupTeacherEntropy{options_.teacher_temperature, entropy}, logits, upload_scores(ex, pairs.teacher_scores, shape),
                        row_weight, d_logits, share);
  ex.backend.scale(scale, d_logits, d_logits);
  cosines.backward(ex, d_logits, d_emb);
  return {};
}

LossResult MarginMse::evaluate(Exec& ex, const Group&, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb, Tensor share) {
  require_teacher(pairs.teacher_scores, pairs.queries * pairs.group, "margin mse");
  if (pairs.group < 2)
    throw Error(ExitCode::data, "teacher", "margin mse compares a positive with negatives, the rows have none",
                "choose a group size of at least 2");
  const auto scope = ex.arena.scope();
  const GroupScores scores(ex, emb, pairs, options_.similarity);
  const Shape shape = scores.scores().shape();
  const Tensor d_scores = ex.arena.tensor(DType::f64, shape);
  ex.backend.fill_zero(d_scores);
  ex.backend.group_loss(GroupMarginMse{}, scores.scores(), upload_scores(ex, pairs.teacher_scores, shape),
                        weight / static_cast<double>(pairs.global_queries), d_scores, share);
  scores.backward(ex, d_scores, d_emb);
  return {};
}

}  // namespace lodestone
