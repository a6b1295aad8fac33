// Distillation over a query's own group: KL divergence or soft cross-entropy to a teacher's scores, and margins to its margins.
#pragma once

#include "losses/group_scores.h"
#include "losses/loss.h"
#include "losses/settings.h"

namespace lodestone {

// The specifications are group_distillation and group_margin_mse in core/group_losses.h.

enum class DistillationForm : uint8_t {
  kl_divergence,       // 0 where the student agrees with the teacher
  soft_cross_entropy,  // the same and the teacher's entropy: equal gradient
};

struct GroupDistillationOptions {
  double temperature = 0.05;       // divides the student's cosines
  double teacher_temperature = 1;  // alpha: divides the teacher's scores
  DistillationForm form = DistillationForm::kl_divergence;
};
/// A temperature that is not positive.
std::optional<Refusal> refused(const GroupDistillationOptions& options);

/// Mean over queries of the divergence between softmax(teacher / teacher_temperature) and softmax(cosine / temperature) over the
/// query's own G passages. Ranks exchange nothing. Throws Error (data) on rows without teacher scores.
class GroupDistillation final : public Loss {
 public:
  /// Throws Error (usage, "config") where its settings are refused.
  explicit GroupDistillation(const GroupDistillationOptions& options);
  LossResult evaluate(Exec& ex, const Group& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb,
                      Tensor share) override;

 private:
  GroupDistillationOptions options_;
};

struct MarginMseOptions {
  /// The dot product of un-normalised vectors is the definition; it cannot stand under Matryoshka, which hands over unit vectors.
  Similarity similarity = Similarity::dot;
};
/// None can be wrong.
inline std::optional<Refusal> refused(const MarginMseOptions&) { return std::nullopt; }

/// Mean squared difference between the student's and the teacher's margins of the positive over each negative, over all
/// negatives. Ranks exchange nothing. Throws Error (data) on rows without teacher scores or without a negative.
class MarginMse final : public Loss {
 public:
  explicit MarginMse(const MarginMseOptions& options) : options_(options) {}
  LossResult evaluate(Exec& ex, const Group& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb,
                      Tensor share) override;

 private:
  MarginMseOptions options_;
};

}  // namespace lodestone
