// ScorePrecision: as what unit vectors enter the products of a matrix of scores.
#pragma once

#include <optional>
#include <string_view>

#include "losses/settings.h"

namespace lodestone {

/// Sums, scores, softmax and gradients are f32 either way.
enum class ScorePrecision : uint8_t {
  f32,
  bf16,  // unit vectors rounded, and on the way back the gradient of the scores: score_block.h says what that costs
};

/// As configurations name it.
constexpr std::string_view name_of(ScorePrecision value) {
  switch (value) {
    case ScorePrecision::f32:
      return "f32";
    case ScorePrecision::bf16:
      return "bf16";
  }
  return {};
}

/// Rounding asked for by settings under which a query meets its own group alone.
inline std::optional<Refusal> refused_score_precision(ScorePrecision precision, bool own_group_only) {
  if (precision == ScorePrecision::f32 || !own_group_only) return std::nullopt;
  return Refusal{"score_precision", "a query is compared with its own group alone, whose scores are never rounded", "leave it out"};
}

}  // namespace lodestone
