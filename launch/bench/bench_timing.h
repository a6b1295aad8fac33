// How long calls to a backend take, alone and beside each other.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "core/backend.h"

namespace lodestone {

/// Of one call: the fastest of five rounds of ten calls each, after one round that counts for nothing.
double fastest_s(Backend& backend, const std::function<void()>& call);

/// n values in [-0.5, 0.5): a processor that multiplies zeros takes less power, and is faster than with any real matrix.
std::vector<float> random_values(int64_t n);

struct Timed {
  Backend& backend;
  std::function<void()> call;
};

/// Seconds of one call in several rounds.
struct Spread {
  double median_s = 0, fastest_s = 0, slowest_s = 0;
};

/// Each in its turn, so that a machine that changes its speed does so for all: `rounds` rounds of as many calls between two waits as take
/// about ten milliseconds, at most a hundred, after two calls that count for nothing.
std::vector<Spread> in_turns(std::span<const Timed> all, int64_t rounds);

/// What stands in a report in the place of a figure that there is none of.
std::string not_measured(const std::string& reason);

}  // namespace lodestone
