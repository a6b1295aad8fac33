// Configuration trees: YAML files merged in order, and key.path=value overrides.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"

namespace lodestone {

/// One node of a merged configuration, with the place it came from.
struct ConfigNode {
  enum class Kind { scalar, list, map };
  Kind kind = Kind::map;
  std::string scalar{};
  std::vector<ConfigNode> list{};
  std::vector<std::pair<std::string, ConfigNode>> map{};  // in order of first appearance
  std::string origin{};                                   // "bge.yaml line 7", or "command line"
  std::filesystem::path base{};                           // relative paths in this scalar start here

  const ConfigNode* find(const std::string& key) const;
};

/// Loads `files` (later ones win, maps merge key by key), then applies overrides "key.path=value".
/// Refuses, with file and line: repeated keys, merge keys, anchors, aliases, tags, several documents, tabs, bytes that are not UTF-8,
/// NUL, files over 1 MiB (Error usage, "F43").
ConfigNode load_config(std::span<const std::filesystem::path> files, std::span<const std::string> overrides);

/// Error (usage, "config") about what stands at `origin`.
Error config_error(const std::string& what, const std::string& origin, const std::string& remedy);

/// `text` as a YAML scalar, in double quotes where it needs them.
std::string yaml_text(const std::string& text);

/// The candidate nearest to `word` by edit distance, or an empty string when none is close.
std::string nearest_name(const std::string& word, std::span<const std::string> candidates);

}  // namespace lodestone
