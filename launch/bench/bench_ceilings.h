// What a device does at most: large matrix products and copies, through the backend that trains.
#pragma once

#include <nlohmann/json.hpp>

#include "launch/bench/bench_step.h"

namespace lodestone {

/// Products of two random matrices [edge, edge] in bf16 and f32, and copies of one in f32 on the device, to it and from it. Each time is
/// that of one call in the fastest of five rounds, of ten calls between two waits. Throws Error (usage) with several ranks.
nlohmann::ordered_json bench_ceilings(const BenchOptions& options, int64_t edge, World& world);

}  // namespace lodestone
