// What losses say about settings that cannot be.
#pragma once

#include <string>

#include "core/error.h"

namespace lodestone {

/// Throws Error (usage, "config") at `key`.
[[noreturn]] inline void refuse_setting(const char* key, const std::string& what, const std::string& remedy) {
  throw Error(ExitCode::usage, "config", what, remedy).at("key", key);
}

/// Refuses a temperature that is not a positive number.
inline void require_temperature(const char* key, double temperature) {
  if (!(temperature > 0) || temperature > 1e6)
    refuse_setting(key, cat("the temperature is ", temperature), "give a positive number; 0.01 to 0.1 is usual");
}

}  // namespace lodestone
