#include "launch/bench/bench_timing.h"

#include <algorithm>

#include "launch/bench/bench_shares.h"
#include "launch/console/log.h"

namespace lodestone {

namespace {

constexpr double round_s = 0.01;
constexpr double most_calls = 100;

/// Of one of so many calls between two waits.
double seconds_of(Backend& backend, const std::function<void()>& call, int64_t calls) {
  backend.synchronize();
  const double start_s = now_s();
  for (int64_t i = 0; i < calls; ++i) call();
  backend.synchronize();
  return (now_s() - start_s) / static_cast<double>(calls);
}

}  // namespace

double fastest_s(Backend& backend, const std::function<void()>& call) {
  constexpr int rounds = 5, calls = 10;
  seconds_of(backend, call, calls);
  double fastest = 1e30;
  for (int round = 0; round < rounds; ++round) fastest = std::min(fastest, seconds_of(backend, call, calls));
  return fastest;
}

std::vector<float> random_values(int64_t n) {
  const Key key = Key(1).with("bench ceilings");
  std::vector<float> values(static_cast<size_t>(n));
  uint64_t i = 0;
  for (float& x : values) x = static_cast<float>(key.uniform(i++) - 0.5);
  return values;
}

std::vector<Spread> in_turns(std::span<const Timed> all, int64_t rounds) {
  std::vector<int64_t> calls;
  std::vector<std::vector<double>> seconds(all.size());
  for (const Timed& timed : all) {
    seconds_of(timed.backend, timed.call, 1);
    calls.push_back(static_cast<int64_t>(std::clamp(round_s / seconds_of(timed.backend, timed.call, 1), 1.0, most_calls)));
  }
  for (int64_t round = 0; round < rounds; ++round)
    for (size_t i = 0; i < all.size(); ++i) seconds[i].push_back(seconds_of(all[i].backend, all[i].call, calls[i]));
  std::vector<Spread> spreads;
  for (const std::vector<double>& s : seconds) {
    const auto [least, most] = std::minmax_element(s.begin(), s.end());
    spreads.push_back({median(s), *least, *most});
  }
  return spreads;
}

std::string not_measured(const std::string& reason) { return "not measured: " + reason; }

}  // namespace lodestone
