// What each loss takes alone, and as a share of a step of the size at which that matters.
#pragma once

#include <nlohmann/json.hpp>

#include "launch/bench/bench_step.h"

namespace lodestone {

/// The middle one of some values, of an even number the upper.
double median(std::vector<double> values);
double median(const std::vector<Seconds>& values, double Seconds::*clock);

/// Value and gradient of each of `losses` on N random vectors of queries and N*G of passages, alternating with steps on
/// options.pairs texts and as many again, whose encoder time is scaled to N(1+G) texts; options.steps times each, medians.
nlohmann::ordered_json bench_shares(BenchStep& bench, const BenchOptions& options, std::span<const BenchLoss> losses, int64_t queries,
                                    World& world);

}  // namespace lodestone
