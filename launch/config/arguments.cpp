#include "launch/config/arguments.h"

#include <algorithm>

#include "core/error.h"
#include "launch/config/yaml.h"

namespace lodestone {

ConfigArguments split_config_arguments(std::span<const std::string> arguments, const std::string& command,
                                       std::span<const std::string> options) {
  const std::string help = cat("lodestone ", command, " --help tells more");
  ConfigArguments out;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& a = arguments[i];
    if (a.starts_with("--")) {
      const bool valued = std::find(options.begin(), options.end(), a) != options.end();
      const bool flag = std::find(options.begin(), options.end(), a + "!") != options.end();
      if (!valued && !flag) {
        const std::string near = nearest_name(a, options);
        throw Error(ExitCode::usage, "usage", cat(command, ": unknown option ", a), near.empty() ? help : cat("did you mean ", near, "?"));
      }
      if (valued && i + 1 == arguments.size()) throw Error(ExitCode::usage, "usage", cat(command, ": ", a, " needs a value"), help);
      out.options[a] = valued ? arguments[++i] : "";
    } else if (std::error_code unknown; a.find('=') != std::string::npos && !std::filesystem::exists(a, unknown)) {
      out.overrides.push_back(a);
    } else {
      out.files.emplace_back(a);
    }
  }
  if (out.files.empty()) throw Error(ExitCode::usage, "usage", cat(command, ": no configuration file is given"), help);
  return out;
}

}  // namespace lodestone
