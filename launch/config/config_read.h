// What the readers of the configuration's sections share.
#pragma once

#include <algorithm>
#include <array>
#include <type_traits>

#include "core/choice.h"
#include "launch/config/config.h"

namespace lodestone {

/// Reads a choice by the names of its values.
template <class Enum>
void read_enum(Section& s, const std::string& key, Enum& value, Resume resume = Resume::must_match) {
  static constexpr auto names = names_of<Enum>();
  auto index = static_cast<size_t>(value);
  s.read_choice(key, names, index, resume);
  value = static_cast<Enum>(index);
}

/// The same, where `none` stands for no choice; it is what counts unless the key is given.
template <class Enum>
void read_enum(Section& s, const std::string& key, std::string_view none, std::optional<Enum>& value) {
  static constexpr auto names = names_of<Enum>();
  std::array<std::string_view, names.size() + 1> all{none};
  std::copy(names.begin(), names.end(), all.begin() + 1);
  size_t index = 0;
  s.read_choice(key, all, index);
  if (index > 0) value = static_cast<Enum>(index - 1);
}

/// Reads a truth value into an enum of two.
template <class Enum>
void read_flag(Section& s, const std::string& key, Enum off, Enum on, Enum& value) {
  bool flag = value == on;
  s.read(key, flag);
  value = flag ? on : off;
}

/// Reads a value that may be left out.
template <class T>
void read_optional(Section& s, const std::string& key, std::optional<T>& value) {
  if (!s.may_have(key)) return;
  T given{};
  s.read(key, given);
  value = given;
}

/// Refuses values outside [smallest, largest].
template <class T>
void within(const Section& s, const std::string& key, T value, std::type_identity_t<T> smallest, std::type_identity_t<T> largest) {
  if (value < smallest) s.refuse(key, cat(value, " is too small"), cat("use ", smallest, " or more"));
  if (value > largest) s.refuse(key, cat(value, " is too large"), cat("use ", largest, " or less"));
}
/// Larger counts than this are slips, and their products would not fit 64 bits.
constexpr int64_t most_count = 2'147'483'647;
constexpr double most_factor = 1e6;
inline void at_least(const Section& s, const std::string& key, double value, double smallest) {
  within(s, key, value, smallest, most_factor);
}
inline void at_least(const Section& s, const std::string& key, int64_t value, int64_t smallest) {
  within(s, key, value, smallest, most_count);
}
/// Refuses a setting for what losses say of it, at the place where it is given.
inline void require_settings(const Section& s, const std::optional<Refusal>& refusal) {
  if (refusal) s.refuse(refusal->key, refusal->what, refusal->remedy);
}

/// loss: one of the losses of losses/make_loss.h with the keys that it knows.
LossConfig read_loss(Section s);
/// objective
ObjectiveConfig read_objective(Section s);
/// The sections data, loss, mining and tasks.
std::vector<TaskConfig> read_tasks(Section& root, const ObjectiveConfig& objective, int64_t global_batch);
/// schedule
StepConfig read_schedule(Section s, const std::vector<TaskConfig>& tasks);

}  // namespace lodestone
