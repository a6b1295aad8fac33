// CallTrace: an operation and all that it was called with, to be compared with another call.
#pragma once

#include <bit>
#include <concepts>

#include "core/backend.h"

namespace lodestone {

/// Operands by where they lie, all else by value.
struct CallTrace {
  const char* operation = "";
  ReplayName arguments{};
  bool operator==(const CallTrace&) const = default;
};

inline void trace(ReplayName& name, ConstTensor x) { name.add(x); }
inline void trace(ReplayName& name, const DeviceTexts& texts) { name.add(texts); }
inline void trace(ReplayName& name, const DeviceMasks& masks) { name.add(masks.bits).add(masks.first).add(masks.of_row); }
inline void trace(ReplayName& name, const Dropout& dropout) { name.add(std::bit_cast<uint64_t>(dropout.p)).add(dropout.key.value()); }
inline void trace(ReplayName& name, double value) { name.add(std::bit_cast<uint64_t>(value)); }
template <class Scalar>
requires(std::is_enum_v<Scalar> || std::is_integral_v<Scalar>) void trace(ReplayName& name, Scalar value) {
  name.add(static_cast<uint64_t>(value));
}
template <class Other>
requires(!std::convertible_to<Other, ConstTensor> && !std::is_enum_v<Other> && !std::is_arithmetic_v<Other>) void trace(ReplayName&,
                                                                                                                        const Other&) {
  throw_internal(__FILE__, __LINE__, "replay", "an operation of a loss or of an update in a stretch that may be replayed");
}

template <class... Args>
CallTrace trace_of(const char* operation, const Args&... args) {
  CallTrace call{operation, {}};
  (trace(call.arguments, args), ...);
  return call;
}

}  // namespace lodestone
