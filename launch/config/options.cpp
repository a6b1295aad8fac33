#include "launch/config/options.h"

#include <algorithm>
#include <charconv>
#include <sstream>

#include "core/error.h"
#include "launch/config/yaml.h"
#include "launch/console/log.h"

namespace lodestone {

std::optional<int64_t> whole_number(std::string_view text, int64_t least, int64_t most) {
  int64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size() || value < least || value > most) return std::nullopt;
  return value;
}

Options::Options(std::span<const std::string> arguments, std::string command, std::span<const std::string> names)
    : command_(std::move(command)) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& name = arguments[i];
    if (!name.starts_with("--")) {
      positional_.push_back(name);
      continue;
    }
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      const std::string near = nearest_name(name, names);
      refuse(cat("unknown option ", name, near.empty() ? "" : cat(", did you mean ", near, "?")));
    }
    if (i + 1 == arguments.size()) refuse(cat(name, " needs a value"));
    if (!values_.emplace(name, arguments[++i]).second) refuse(cat(name, " is given twice"));
  }
}

std::string Options::text(const std::string& name, const std::string& otherwise) const {
  const auto found = values_.find(name);
  return found == values_.end() ? otherwise : found->second;
}

int64_t Options::integer(const std::string& name, int64_t otherwise, int64_t least, int64_t most) const {
  const auto found = values_.find(name);
  if (found == values_.end()) return otherwise;
  const std::optional<int64_t> value = whole_number(found->second, least, most);
  if (value) return *value;
  const bool bounded = most < std::numeric_limits<int64_t>::max();
  refuse(cat(name, " is ", printable(found->second), ", not a whole number ",
             bounded ? cat("from ", least, " to ", most) : cat("of at least ", least)));
}

double Options::number(const std::string& name, double otherwise, double least, double most) const {
  const auto found = values_.find(name);
  return found == values_.end() ? otherwise : number_in(name, found->second, least, most);
}

double Options::number_in(const std::string& name, const std::string& text, double least, double most) const {
  double value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure == std::errc{} && end == text.data() + text.size() && value >= least && value <= most) return value;
  const bool bounded = least > std::numeric_limits<double>::lowest() || most < std::numeric_limits<double>::max();
  refuse(cat(name, " is ", printable(text), ", not a number", bounded ? cat(" from ", least, " to ", most) : ""));
}

std::vector<std::string> Options::list(const std::string& name) const {
  std::vector<std::string> parts;
  if (!has(name)) return parts;
  std::istringstream in(text(name, "") + ',');
  for (std::string part; std::getline(in, part, ',');) {
    if (part.empty()) refuse(cat(name, " has an empty part: ", printable(text(name, ""))));
    parts.push_back(part);
  }
  return parts;
}

size_t Options::place(const std::string& name, std::span<const std::string_view> names, size_t otherwise) const {
  const auto given = values_.find(name);
  if (given == values_.end()) return otherwise;
  const auto found = std::find(names.begin(), names.end(), given->second);
  if (found != names.end()) return static_cast<size_t>(found - names.begin());
  std::string all;
  for (const std::string_view known : names) all += cat(all.empty() ? "" : ", ", known);
  refuse(cat(name, " is ", printable(given->second), ", not one of ", all));
}

void Options::refuse(const std::string& what) const {
  throw Error(ExitCode::usage, "usage", cat(command_, ": ", what), cat("lodestone ", command_, " --help tells more"));
}

}  // namespace lodestone
