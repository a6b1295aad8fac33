// round_up: the smallest multiple that is not less.
#pragma once

#include <concepts>
#include <type_traits>

namespace lodestone {

/// Of a step that is positive, and a number that is not negative.
template <std::integral T>
constexpr T round_up(T n, std::type_identity_t<T> step) {
  return (n + step - 1) / step * step;
}

}  // namespace lodestone
