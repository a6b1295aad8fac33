// What tests of plans share: one batch by its draw, and what an impossible plan says.
#pragma once

#include <gtest/gtest.h>

#include "core/error.h"
#include "data/plan/plan.h"

namespace lodestone {

inline Part batch_of(const Plan& plan, int64_t draw) {
  Part part;
  plan.batch(draw, part);
  return part;
}

inline std::string message_of(const PlanConfig& config, const std::vector<PlanSource>& sources) {
  try {
    const Plan plan(config, sources);
    return "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::usage);
    return cat(error.what(), "; do: ", error.remedy());
  }
}

}  // namespace lodestone
