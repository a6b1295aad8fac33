// Splits a command's arguments into configuration files and key.path=value overrides, or into options and files.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace lodestone {

struct ConfigArguments {
  std::vector<std::filesystem::path> files;
  std::vector<std::string> overrides;
  std::map<std::string, std::string> options;  // "--steps" -> "3"; flags have an empty value
};

/// Files come first or between, anything with '=' is an override. `options` names what may be given with a value
/// ("--steps") or without ("--without-data!"). Throws Error (usage) on unknown options and when no file is given.
ConfigArguments split_config_arguments(std::span<const std::string> arguments, const std::string& command,
                                       std::span<const std::string> options = {});

}  // namespace lodestone
