// Losses of a query's own group of scores: cross-entropy, binary cross-entropy, distillation from a teacher's scores.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace lodestone {

// scores [B,G], query-major, the positive in column 0. `weight` is that of one row's loss: 1/N for the mean over N queries, so
// the shares of ranks add up. Each returns weight * the sum of its rows' losses; d_scores [B,G] += its gradient. No allocation.

/// Row: log sum_g exp(s_g) - s_0.
double group_cross_entropy(std::span<const double> scores, int64_t group, double weight, std::span<double> d_scores);

/// Row: 1/G (softplus(-s_0) + sum_{g>0} softplus(s_g)), each pair on its own with target 1 or 0.
double group_binary_cross_entropy(std::span<const double> scores, int64_t group, double weight, std::span<double> d_scores);

/// What a teacher makes of the same texts: w = softmax(scores / temperature) over each group.
struct Teacher {
  std::span<const double> scores = {};  // [B,G]
  double temperature = 1;               // alpha: small values leave only the best candidate
};

/// Row: - sum_g w_g log softmax(s)_g.
double group_soft_cross_entropy(std::span<const double> scores, const Teacher& teacher, int64_t group, double weight,
                                std::span<double> d_scores);

/// Row: sum_g w_g (log w_g - log softmax(s)_g): the soft cross-entropy less the teacher's entropy, with the same gradient. With
/// weight 1/N this is what PyTorch calls reduction "batchmean".
double group_kl_divergence(std::span<const double> scores, const Teacher& teacher, int64_t group, double weight,
                           std::span<double> d_scores);

enum class GroupTarget : uint8_t { cross_entropy, binary };

/// As configurations name it.
constexpr std::string_view name_of(GroupTarget value) {
  switch (value) {
    case GroupTarget::cross_entropy:
      return "group_ce";
    case GroupTarget::binary:
      return "bce";
  }
  return {};
}

struct GroupLossOptions {
  GroupTarget target = GroupTarget::cross_entropy;
  double distillation_weight = 0;  // of the soft cross-entropy with the teacher's scores; 0: no teacher is needed
  double teacher_temperature = 1;
};

/// The reranker's loss: target + distillation_weight * soft cross-entropy. d_scores [B,G] = the gradient (set).
/// Throws Error (data) if distillation is asked for and teacher_scores [B,G] are missing.
double group_loss(const GroupLossOptions& options, std::span<const double> scores, std::span<const double> teacher_scores, int64_t group,
                  double weight, std::span<double> d_scores);

/// Throws Error (data) naming `loss` unless there are `count` teacher scores, all finite.
void require_teacher(std::span<const double> teacher_scores, int64_t count, const char* loss);

}  // namespace lodestone
