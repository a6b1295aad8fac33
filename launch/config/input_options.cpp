#include "launch/config/input_options.h"

#include <sstream>

#include "launch/console/log.h"

namespace lodestone {

std::vector<std::string> input_option_names() { return {"--format", "--columns", "--header"}; }

void read_input_options(const Options& given, InputOptions& input) {
  if (given.has("--format")) input.format = input_format(given.text("--format", ""));
  input.header = given.choice("--header", input.header);
  std::istringstream columns(given.text("--columns", ""));
  for (std::string name; std::getline(columns, name, ',');) input.columns.push_back(name);
}

std::string describe_ignored(std::span<const std::string> names) {
  std::string line;
  for (const std::string& name : names)
    line += name == more_ignored ? " and more" : cat(line.empty() ? "fields ignored: " : " ", printable(name));
  return line;
}

}  // namespace lodestone
