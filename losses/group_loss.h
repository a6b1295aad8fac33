// The reranker's loss of each query's own group of scores: which target, and how much a teacher has to say.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "core/exec.h"

namespace lodestone {

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

/// target + distillation_weight * soft cross-entropy: total (f64 [1]) += weight * the sum of the rows' losses, d_scores = its gradient.
/// scores, d_scores [B,G] f64. Throws Error (data) if distillation is asked for and teacher_scores [B*G] are missing.
void group_loss(Exec& ex, const GroupLossOptions& options, ConstTensor scores, std::span<const double> teacher_scores, double weight,
                Tensor d_scores, Tensor total);

/// Throws Error (data) naming `loss` unless there are `count` teacher scores, all finite.
void require_teacher(std::span<const double> teacher_scores, int64_t count, const char* loss);

/// Scores that the host holds, where operations read them, in this shape.
inline ConstTensor upload_scores(Exec& ex, std::span<const double> scores, Shape shape) {
  return ex.backend.upload(view(scores), ex.arena).reshape(shape);
}

}  // namespace lodestone
