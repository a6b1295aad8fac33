// Configuration trees: YAML files merged in order, key.path=value overrides, and typed reading that refuses typos.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

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
/// Refuses, with file and line: repeated keys, merge keys, anchors, aliases, several documents, tabs, files over 1 MiB (Error usage,
/// "F43").
ConfigNode load_config(std::span<const std::filesystem::path> files, std::span<const std::string> overrides);

/// A map being read. Every read() marks its key as known; finish() refuses whatever was not read and names the nearest known key.
/// The values read, defaults included, are recorded in a resolved tree that prints as YAML.
class Section {
 public:
  /// The whole configuration. `node` must outlive the section.
  explicit Section(const ConfigNode& node);

  /// Sets `value` if the key is given; leaves the default otherwise. Throws Error (usage, "config") with the origin when the text
  /// is not of the type: integers are decimal, numbers finite, truth values `true` or `false`.
  void read(const std::string& key, bool& value);
  void read(const std::string& key, int64_t& value);
  void read(const std::string& key, double& value);
  void read(const std::string& key, std::string& value);
  /// A relative path starts at the folder of the file that gives it (at the working folder on the command line).
  void read(const std::string& key, std::filesystem::path& value);
  void read(const std::string& key, std::vector<int64_t>& value);
  void read(const std::string& key, std::vector<std::string>& value);
  /// One of several names, e.g. {"cls", "mean"}; the value becomes its index.
  void read_choice(const std::string& key, std::span<const std::string_view> names, size_t& index);
  /// True when the key is given. Known either way: the caller reads it when it is there.
  bool may_have(const std::string& key);
  /// The keys that are given, in their order: where a map's keys are names.
  std::vector<std::string> keys() const;
  /// A nested map; empty if the key is missing. Call its finish() too.
  Section section(const std::string& key);
  /// Whether a key is given, here or ("data.train") in the sections below. Does not mark it as known.
  bool given(const std::string& key) const { return locate(key) != nullptr; }
  /// Throws Error (usage, "config") about an impossible value, naming key and origin. The key may be one of a section below.
  [[noreturn]] void refuse(const std::string& key, const std::string& what, const std::string& remedy) const;
  void finish() const;
  /// Everything that was read, as YAML.
  std::string resolved() const;
  /// Where each key that was read is given, by its full name; keys that have their defaults are missing.
  std::map<std::string, std::string> origins() const;

 private:
  struct State;
  Section(const ConfigNode* node, std::string path, std::shared_ptr<State> state);
  const ConfigNode* take(const std::string& key, ConfigNode::Kind kind, const char* expected);
  std::string full(const std::string& key) const;
  const ConfigNode* locate(const std::string& key) const;
  void record(const std::string& key, std::string value);

  const ConfigNode* node_;  // null: the section is absent
  std::string path_;        // "optim", "" for the root
  std::vector<std::string> known_;
  std::shared_ptr<State> state_;  // the resolved tree, shared by all sections of a configuration
};

/// The candidate nearest to `word` by edit distance, or an empty string when none is close.
std::string nearest_name(const std::string& word, std::span<const std::string> candidates);

}  // namespace lodestone
