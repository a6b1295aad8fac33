// Options of commands that take files and --name value pairs instead of a configuration.
#pragma once

#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/choice.h"

namespace lodestone {

/// The number that `text` is, digits with a sign at most; none when it is something else or outside [least, most].
std::optional<int64_t> whole_number(std::string_view text, int64_t least, int64_t most = std::numeric_limits<int64_t>::max());

class Options {
 public:
  /// `names` lists the options ("--output"); each takes one value. Everything else is positional.
  /// Throws Error (usage) on an unknown or repeated option, suggesting the nearest, and on a missing value.
  Options(std::span<const std::string> arguments, std::string command, std::span<const std::string> names);

  const std::vector<std::string>& positional() const { return positional_; }
  bool has(const std::string& name) const { return values_.contains(name); }
  std::string text(const std::string& name, const std::string& otherwise) const;
  /// Throws Error (usage) unless the value is a whole number of at least `least` and at most `most`.
  int64_t integer(const std::string& name, int64_t otherwise, int64_t least, int64_t most = std::numeric_limits<int64_t>::max()) const;
  /// Throws Error (usage) unless the value is a number from `least` to `most`.
  double number(const std::string& name, double otherwise, double least, double most) const;
  /// The same for a part of a value, which is of the option `name`.
  double number_in(const std::string& name, const std::string& text, double least, double most) const;
  /// The parts of a value between commas; none where it is not given. Throws Error (usage) when one is empty.
  std::vector<std::string> list(const std::string& name) const;
  /// The value of an enum (core/choice.h) that goes by the name given. Throws Error (usage) listing the names when none does.
  template <class Enum>
  Enum choice(const std::string& name, Enum otherwise) const {
    static constexpr auto names = names_of<Enum>();
    return static_cast<Enum>(place(name, names, static_cast<size_t>(otherwise)));
  }
  /// Throws Error (usage) that names command and what is wrong, and points at --help.
  [[noreturn]] void refuse(const std::string& what) const;

 private:
  /// Where in `names` the value stands.
  size_t place(const std::string& name, std::span<const std::string_view> names, size_t otherwise) const;

  std::string command_;
  std::vector<std::string> positional_;
  std::map<std::string, std::string> values_;
};

}  // namespace lodestone
