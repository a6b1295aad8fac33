// Starting values of a new model: a function of (seed, name, element), so of nothing else.
#include <cmath>
#include <numbers>

#include "core/nn/encoder.h"

namespace lodestone {

namespace {

/// Two independent standard normal values from one counter (Box & Muller 1958).
std::pair<double, double> normal_pair(Key key, uint64_t counter) {
  const auto r = philox(key.value(), {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), 0, 0});
  const auto unit = [](uint32_t high, uint32_t low) {  // (0, 1], so that its logarithm is finite
    return (static_cast<double>(((uint64_t{high} << 32) | low) >> 11) + 1.0) * 0x1.0p-53;
  };
  const double radius = std::sqrt(-2.0 * std::log(unit(r[0], r[1]))), angle = 2.0 * std::numbers::pi * unit(r[2], r[3]);
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

template <class T>
void fill_normal(std::span<T> values, Key key, double deviation) {
  for (size_t i = 0; i < values.size(); i += 2) {
    const auto [first, second] = normal_pair(key, i / 2);
    values[i] = static_cast<T>(deviation * first);
    if (i + 1 < values.size()) values[i + 1] = static_cast<T>(deviation * second);
  }
}

template <class T>
void initialize(const ParamStore& params, double deviation, uint64_t seed) {
  for (const Param& p : params.layout().params()) {
    const std::span<T> values = params.master(p).template host<T>();
    if (p.shape.rank() == 2)
      fill_normal(values, Key(seed).with(p.name), deviation);
    else
      std::fill(values.begin(), values.end(), p.name.ends_with("LayerNorm.weight") ? T{1} : T{0});
  }
}

}  // namespace

void initialize_parameters(const EmbedderConfig& config, ParamStore& params, uint64_t seed) {
  if (params.wide_dtype() == DType::f64)
    initialize<double>(params, config.encoder.initializer_range, seed);
  else
    initialize<float>(params, config.encoder.initializer_range, seed);
}

}  // namespace lodestone
