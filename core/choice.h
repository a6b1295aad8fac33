// A closed choice: an enum whose values have names. One function lists them, and whatever reads or prints the choice follows it.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace lodestone {

/// How many values an enum has. Its values count from 0 without gaps, and a constexpr name_of(Enum) stands beside it: a switch over all of
/// them (a value without a case does not compile) and behind it an empty name, where they end.
template <class Enum>
constexpr size_t count_of() {
  size_t count = 0;
  while (!name_of(static_cast<Enum>(count)).empty()) ++count;
  return count;
}

/// The names of all values, in their order.
template <class Enum>
constexpr auto names_of() {
  std::array<std::string_view, count_of<Enum>()> names;
  for (size_t i = 0; i < names.size(); ++i) names[i] = name_of(static_cast<Enum>(i));
  return names;
}

/// All values, in their order.
template <class Enum>
constexpr auto values_of() {
  std::array<Enum, count_of<Enum>()> values{};
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<Enum>(i);
  return values;
}

}  // namespace lodestone
