// Settings that cannot be: what is wrong with them is said here and in refused() of each loss, once, and thrown by whoever knows where they
// are given.
#pragma once

#include <optional>
#include <string>

#include "core/error.h"

namespace lodestone {

/// Why a setting cannot be, and what to do.
struct Refusal {
  std::string key;  // in the section `loss`
  std::string what, remedy;
};

/// A factor that is positive, and no slip.
inline std::optional<Refusal> refused_factor(const char* key, double value, const char* remedy) {
  constexpr double most = 1e6;
  if (!(value > 0)) return Refusal{key, cat(value, " is not positive"), remedy};
  if (value > most) return Refusal{key, cat(value, " is too large"), cat("use ", most, " or less")};
  return std::nullopt;
}
inline std::optional<Refusal> refused_temperature(const char* key, double value) { return refused_factor(key, value, "for example 0.05"); }
inline std::optional<Refusal> refused_weight(const char* key, double value) {
  return refused_factor(key, value, "give a positive weight, or leave its loss out");
}

/// Throws Error (usage, "config") at the key, where a setting is refused.
inline void require_settings(const std::optional<Refusal>& refusal) {
  if (refusal) throw Error(ExitCode::usage, "config", refusal->what, refusal->remedy).at("key", "loss." + refusal->key);
}

}  // namespace lodestone
