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

int64_t allowed_bad_rows(const Options& given) {
  constexpr int64_t most = 1'000'000;
  const std::string policy = given.text("--on-bad-row", "fail");
  if (policy == "fail") return 0;
  const auto allowed = policy.starts_with("skip:") ? whole_number(policy.substr(5), 0, most) : std::nullopt;
  if (!allowed) given.refuse(cat("--on-bad-row is fail or skip:N with N up to ", most, ", not ", printable(policy)));
  return *allowed;
}

std::string describe_ignored(std::span<const std::string> names) {
  std::string line;
  for (const std::string& name : names)
    line += name == more_ignored ? " and more" : cat(line.empty() ? "fields ignored: " : " ", printable(name));
  return line;
}

}  // namespace lodestone
