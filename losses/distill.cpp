#include "losses/distill.h"

#include <algorithm>

#include "losses/group_ce.h"
#include "losses/settings.h"

namespace lodestone {

double group_margin_mse(std::span<const double> scores, std::span<const double> teacher, int64_t group, double weight,
                        std::span<double> d_scores) {
  const auto width = static_cast<size_t>(group);
  LODE_CHECK(group >= 2 && scores.size() % width == 0 && teacher.size() == scores.size() && d_scores.size() == scores.size(),
             "margin mse: ", scores.size(), " scores and ", teacher.size(), " teacher scores for groups of ", group);
  const double share = weight / static_cast<double>(group - 1);
  double loss = 0;
  for (size_t first = 0; first < scores.size(); first += width)
    for (size_t j = first + 1; j < first + width; ++j) {
      const double difference = (scores[first] - scores[j]) - (teacher[first] - teacher[j]);
      loss += difference * difference;
      d_scores[first] += 2 * share * difference;
      d_scores[j] -= 2 * share * difference;
    }
  return share * loss;
}

std::optional<Refusal> refused(const GroupDistillationOptions& options) {
  if (auto refusal = refused_temperature("temperature", options.temperature)) return refusal;
  return refused_temperature("teacher_temperature", options.teacher_temperature);
}

GroupDistillation::GroupDistillation(const GroupDistillationOptions& options) : options_(options) { require_settings(refused(options)); }

LossMemory GroupDistillation::memory(const VectorBatch& batch) const {
  return GroupScores::memory(batch, Similarity::cosine) + LossMemory{0, 2 * batch.words(batch.pairs.queries * batch.pairs.group)};
}

LossMemory MarginMse::memory(const VectorBatch& batch) const {
  return GroupScores::memory(batch, options_.similarity) + LossMemory{0, batch.words(batch.pairs.queries * batch.pairs.group)};
}

double GroupDistillation::evaluate(Exec& ex, Communicator&, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb) {
  require_teacher(pairs.teacher_scores, pairs.queries * pairs.group, "distillation");
  const auto scope = ex.arena.scope();
  const GroupScores cosines(ex, emb, pairs, Similarity::cosine);
  const double scale = 1 / options_.temperature, row_weight = weight / static_cast<double>(pairs.global_queries);
  const int64_t count = pairs.queries * pairs.group;
  const std::span<double> logits = ex.arena.array<double>(count), d_logits = ex.arena.array<double>(count);
  std::transform(cosines.scores().begin(), cosines.scores().end(), logits.begin(), [&](double s) { return scale * s; });
  std::fill(d_logits.begin(), d_logits.end(), 0.0);
  const Teacher teacher{.scores = pairs.teacher_scores, .temperature = options_.teacher_temperature};
  const double loss = options_.form == DistillationForm::kl_divergence
                          ? group_kl_divergence(logits, teacher, pairs.group, row_weight, d_logits)
                          : group_soft_cross_entropy(logits, teacher, pairs.group, row_weight, d_logits);
  for (double& d : d_logits) d *= scale;
  cosines.backward(ex, d_logits, d_emb);
  return loss;
}

double MarginMse::evaluate(Exec& ex, Communicator&, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb) {
  require_teacher(pairs.teacher_scores, pairs.queries * pairs.group, "margin mse");
  if (pairs.group < 2)
    throw Error(ExitCode::data, "teacher", "margin mse compares a positive with negatives, the rows have none",
                "choose a group size of at least 2");
  const auto scope = ex.arena.scope();
  const GroupScores scores(ex, emb, pairs, options_.similarity);
  const std::span<double> d_scores = ex.arena.array<double>(pairs.queries * pairs.group);
  std::fill(d_scores.begin(), d_scores.end(), 0.0);
  const double loss =
      group_margin_mse(scores.scores(), pairs.teacher_scores, pairs.group, weight / static_cast<double>(pairs.global_queries), d_scores);
  scores.backward(ex, d_scores, d_emb);
  return loss;
}

}  // namespace lodestone
