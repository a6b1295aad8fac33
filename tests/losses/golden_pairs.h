// Two queries and their groups of two passages, small enough to work out by hand. Expected values were computed independently in
// double.
#pragma once

#include <array>

namespace lodestone::test {

inline constexpr std::array<double, 6> golden_queries{1, 2, 2, 2, -1, 2};
inline constexpr std::array<double, 12> golden_passages{2, 1, 2, 1, 0, 0, 2, -2, 1, 0, 1, 0};  // positive, negative; positive, negative

}  // namespace lodestone::test
