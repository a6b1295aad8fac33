// What the readers of the configuration's sections share.
#pragma once

#include "launch/config.h"

namespace lodestone {

/// Reads a choice into an enum whose values are listed in the order of `names`.
template <class Enum, size_t n>
void read_enum(Section& s, const std::string& key, const std::string_view (&names)[n], Enum& value) {
  auto index = static_cast<size_t>(value);
  s.read_choice(key, names, index);
  value = static_cast<Enum>(index);
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

inline void at_least(const Section& s, const std::string& key, double value, double smallest) {
  if (value < smallest) s.refuse(key, cat(value, " is too small"), cat("use ", smallest, " or more"));
}
inline void at_least(const Section& s, const std::string& key, int64_t value, int64_t smallest) {
  at_least(s, key, static_cast<double>(value), static_cast<double>(smallest));
}

/// loss: one of the losses of losses/make_loss.h with the keys that it knows. `group` is data.train_group_size.
LossConfig read_loss(Section s, int64_t group);
/// objective
ObjectiveConfig read_objective(Section s);
/// The sections data, loss, mining and tasks.
std::vector<TaskConfig> read_tasks(Section& root, const ObjectiveConfig& objective, int64_t global_batch);
/// schedule
StepConfig read_schedule(Section s, const std::vector<TaskConfig>& tasks);

}  // namespace lodestone
