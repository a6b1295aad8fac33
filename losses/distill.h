// Distillation over a query's own group: KL divergence or soft cross-entropy to a teacher's scores, and margins to its margins.
#pragma once

#include "losses/group_scores.h"
#include "losses/loss.h"
#include "losses/settings.h"

namespace lodestone {

/// The specification of the margin loss, on plain arrays (Hofstaetter et al. 2021). scores, teacher [B,G], the positive in column
/// 0:
///   row = 1/(G-1) sum_{g>0} ((s_0 - s_g) - (t_0 - t_g))^2
/// Returns weight * the sum of rows, so 1/N gives the mean over all margins; d_scores [B,G] += its gradient. G is at least 2.
double group_margin_mse(std::span<const double> scores, std::span<const double> teacher, int64_t group, double weight,
                        std::span<double> d_scores);

// The specifications of the others are group_kl_divergence and group_soft_cross_entropy in group_ce.h.

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
  double evaluate(Exec& ex, Communicator& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb) override;
  LossMemory memory(const VectorBatch& batch) const override;

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
  double evaluate(Exec& ex, Communicator& group, ConstTensor emb, const Pairs& pairs, double weight, Tensor d_emb) override;
  LossMemory memory(const VectorBatch& batch) const override;

 private:
  MarginMseOptions options_;
};

}  // namespace lodestone
