// Typed reading of a configuration tree: refuses typos, and records what was read, with its default and its place.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "launch/config/yaml.h"

namespace lodestone {

/// Whether a run may go on from a checkpoint that was trained with another value of a key. Said where the key is read.
enum class Resume : uint8_t {
  must_match,  // it changes what is trained
  may_change,  // it changes no number that is trained, or only its rounding
};

/// A key that was read.
struct ConfigKey {
  std::string path, value;              // "optim.learning_rate", and its value as resolved() prints it
  std::optional<std::string> standard;  // its default, printed alike; none where a key that is missing means what no value says
  std::string within;                   // the section around it that need not be there: "mining", "tasks.sts"; empty: it is always read
  std::string origin;                   // where it is given; empty: it has its default
  Resume resume = Resume::must_match;
};

/// A map being read. Every read() marks its key as known; finish() refuses whatever was not read and names the nearest known key.
/// The values read, defaults included, are recorded in a resolved tree that prints as YAML.
class Section {
 public:
  /// The whole configuration. `node` must outlive the section.
  explicit Section(const ConfigNode& node);

  /// Sets `value` if the key is given; leaves the default otherwise. Throws Error (usage, "config") with the origin when the text
  /// is not of the type: integers are decimal, numbers finite, truth values `true` or `false`.
  void read(const std::string& key, bool& value, Resume resume = Resume::must_match);
  void read(const std::string& key, int64_t& value, Resume resume = Resume::must_match);
  void read(const std::string& key, double& value, Resume resume = Resume::must_match);
  void read(const std::string& key, std::string& value, Resume resume = Resume::must_match);
  /// A relative path starts at the folder of the file that gives it (at the working folder on the command line).
  void read(const std::string& key, std::filesystem::path& value, Resume resume = Resume::must_match);
  void read(const std::string& key, std::vector<int64_t>& value, Resume resume = Resume::must_match);
  void read(const std::string& key, std::vector<std::string>& value, Resume resume = Resume::must_match);
  /// One of several names, e.g. {"cls", "mean"}; the value becomes its index.
  void read_choice(const std::string& key, std::span<const std::string_view> names, size_t& index, Resume resume = Resume::must_match);
  /// True when the key is given. Known either way: the caller reads it when it is there, and whether it is there is a choice of its own.
  bool may_have(const std::string& key);
  /// The keys that are given, in their order: where a map's keys are names, and having one is a choice. Throws Error (usage, "config")
  /// where one is not made of letters, digits, _ and -.
  std::vector<std::string> names();
  /// A nested map; empty if the key is missing. Call its finish() too.
  Section section(const std::string& key);
  /// Whether a key is given, here or ("data.train") in the sections below. Does not mark it as known.
  bool given(const std::string& key) const { return locate(key) != nullptr; }
  /// Throws Error (usage, "config") about an impossible value, naming key and origin. The key may be one of a section below.
  [[noreturn]] void refuse(const std::string& key, const std::string& what, const std::string& remedy) const;
  void finish() const;
  /// Everything that was read, as YAML.
  std::string resolved() const;
  /// The same key by key, in the order of reading.
  const std::vector<ConfigKey>& read_keys() const { return *read_; }
  /// Where each key that was read is given, by its full name; keys that have their defaults are missing.
  std::map<std::string, std::string> origins() const;

 private:
  Section(const ConfigNode* node, std::string path, std::string within, std::shared_ptr<std::vector<ConfigKey>> read);
  const ConfigNode* take(const std::string& key, ConfigNode::Kind kind, const char* expected);
  std::string full(const std::string& key) const;
  const ConfigNode* locate(const std::string& key) const;
  bool is_choice(const std::string& key) const;
  void record(const std::string& key, std::string standard, std::string value, Resume resume);

  const ConfigNode* node_;  // null: the section is absent
  std::string path_;        // "optim", "" for the root
  std::string within_;      // see ConfigKey
  std::vector<std::string> known_;
  std::vector<std::string> choices_;              // keys that are read only where they are given
  std::shared_ptr<std::vector<ConfigKey>> read_;  // shared by all sections of a configuration
};

}  // namespace lodestone
