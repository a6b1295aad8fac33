#include "losses/group_loss.h"

#include <cmath>

namespace lodestone {

void group_loss(Exec& ex, const GroupLossOptions& options, ConstTensor scores, std::span<const double> teacher_scores, double weight,
                Tensor d_scores, Tensor total) {
  ex.backend.fill_zero(d_scores);
  switch (options.target) {
    case GroupTarget::cross_entropy:
      ex.backend.group_loss(GroupCrossEntropy{}, scores, {}, weight, d_scores, total);
      break;
    case GroupTarget::binary:
      ex.backend.group_loss(GroupBinaryCrossEntropy{}, scores, {}, weight, d_scores, total);
      break;
  }
  if (options.distillation_weight == 0) return;
  require_teacher(teacher_scores, scores.count(), "distillation");
  ex.backend.group_loss(GroupTeacherEntropy{options.teacher_temperature, Entropy::kept}, scores,
                        upload_scores(ex, teacher_scores, scores.shape()), weight * options.distillation_weight, d_scores, total);
}

void require_teacher(std::span<const double> teacher_scores, int64_t count, const char* loss) {
  const char* const remedy =
      "give every row of this source finite teacher_scores (or pos_scores and neg_scores), or choose a loss without a teacher";
  if (static_cast<int64_t>(teacher_scores.size()) != count)
    throw Error(ExitCode::data, "teacher",
                cat(loss, " needs a teacher score for each of ", count, " passages, the rows give ", teacher_scores.size()), remedy);
  for (const double score : teacher_scores)
    if (!std::isfinite(score)) throw Error(ExitCode::data, "teacher", cat("a teacher score is ", score), remedy);
}

}  // namespace lodestone
