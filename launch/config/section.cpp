// How the values of a section are read, recorded and refused.
#include "launch/config/section.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

#include "core/error.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

std::string text_of(bool value) { return value ? "true" : "false"; }
std::string text_of(int64_t value) { return std::to_string(value); }
std::string text_of(double value) {
  char shortest[40];
  return {shortest, std::to_chars(shortest, shortest + sizeof shortest, value).ptr};
}
std::string text_of(const std::string& value) { return yaml_text(value); }
std::string text_of(const fs::path& value) { return yaml_text(value.string()); }
template <class T>
std::string text_of(const std::vector<T>& values) {
  std::string text = "[";
  for (const T& value : values) text += cat(text.size() > 1 ? ", " : "", text_of(value));
  return text + "]";
}

}  // namespace

Section::Section(const ConfigNode& node) : node_(&node), read_(std::make_shared<std::vector<ConfigKey>>()) {}
Section::Section(const ConfigNode* node, std::string path, std::string within, std::shared_ptr<std::vector<ConfigKey>> read)
    : node_(node), path_(std::move(path)), within_(std::move(within)), read_(std::move(read)) {}

std::string Section::full(const std::string& key) const { return path_.empty() ? key : cat(path_, ".", key); }

const ConfigNode* Section::locate(const std::string& key) const {
  const ConfigNode* node = node_;
  for (size_t begin = 0; node != nullptr && begin <= key.size();) {
    const size_t end = std::min(key.find('.', begin), key.size());
    node = node->find(key.substr(begin, end - begin));
    begin = end + 1;
  }
  return node;
}

bool Section::is_choice(const std::string& key) const { return std::find(choices_.begin(), choices_.end(), key) != choices_.end(); }

void Section::record(const std::string& key, std::string standard, std::string value, Resume resume) {
  const ConfigNode* found = locate(key);
  read_->push_back({full(key), std::move(value), is_choice(key) ? std::nullopt : std::optional(std::move(standard)), within_,
                    found == nullptr ? "" : found->origin, resume});
}

std::map<std::string, std::string> Section::origins() const {
  std::map<std::string, std::string> all;
  for (const ConfigKey& key : *read_)
    if (!key.origin.empty()) all[key.path] = key.origin;
  return all;
}

bool Section::may_have(const std::string& key) {
  known_.push_back(key);
  choices_.push_back(key);
  return node_ != nullptr && node_->find(key) != nullptr;
}

const ConfigNode* Section::take(const std::string& key, ConfigNode::Kind kind, const char* expected) {
  known_.push_back(key);
  const ConfigNode* found = node_ == nullptr ? nullptr : node_->find(key);
  if (found != nullptr && found->kind != kind) refuse(key, cat("needs ", expected), cat("write ", full(key), ": ", expected));
  return found;
}

void Section::refuse(const std::string& key, const std::string& what, const std::string& remedy) const {
  const ConfigNode* found = locate(key);
  throw config_error(cat(full(key), ": ", what), found != nullptr ? found->origin : "defaults", remedy);
}

void Section::read(const std::string& key, bool& value, Resume resume) {
  std::string standard = text_of(value);
  if (const ConfigNode* n = take(key, ConfigNode::Kind::scalar, "true or false")) {
    if (n->scalar != "true" && n->scalar != "false") refuse(key, cat("'", n->scalar, "' is not a truth value"), "use true or false");
    value = n->scalar == "true";
  }
  record(key, std::move(standard), text_of(value), resume);
}

void Section::read(const std::string& key, int64_t& value, Resume resume) {
  std::string standard = text_of(value);
  if (const ConfigNode* n = take(key, ConfigNode::Kind::scalar, "an integer")) {
    const std::string& s = n->scalar;
    const size_t digits = s.starts_with('-') ? 1 : 0;
    int64_t parsed = 0;
    const auto [end, failure] = std::from_chars(s.data(), s.data() + s.size(), parsed);
    if (failure != std::errc() || end != s.data() + s.size())
      refuse(key, cat("'", s, "' is not an integer"), "write decimal digits, for example 128");
    if (s.size() > digits + 1 && s[digits] == '0') refuse(key, cat("'", s, "' looks octal"), "write it without leading zeros");
    value = parsed;
  }
  record(key, std::move(standard), text_of(value), resume);
}

void Section::read(const std::string& key, double& value, Resume resume) {
  std::string standard = text_of(value);
  if (const ConfigNode* n = take(key, ConfigNode::Kind::scalar, "a number")) {
    const std::string& s = n->scalar;
    double parsed = 0;
    const auto [end, failure] = std::from_chars(s.data(), s.data() + s.size(), parsed);
    if (failure != std::errc() || end != s.data() + s.size() || !std::isfinite(parsed))
      refuse(key, cat("'", s, "' is not a finite number"), "write a number, for example 1e-5");
    value = parsed;
  }
  record(key, std::move(standard), text_of(value), resume);
}

void Section::read(const std::string& key, std::string& value, Resume resume) {
  std::string standard = text_of(value);
  if (const ConfigNode* n = take(key, ConfigNode::Kind::scalar, "text")) value = n->scalar;
  record(key, std::move(standard), text_of(value), resume);
}

void Section::read(const std::string& key, fs::path& value, Resume resume) {
  std::string standard = text_of(value);
  if (const ConfigNode* n = take(key, ConfigNode::Kind::scalar, "a path")) {
    value = n->scalar;
    if (!value.empty() && value.is_relative()) value = (n->base / value).lexically_normal();
  }
  record(key, std::move(standard), text_of(value), resume);
}

void Section::read(const std::string& key, std::vector<int64_t>& value, Resume resume) {
  std::string standard = text_of(value);
  if (const ConfigNode* n = take(key, ConfigNode::Kind::list, "a list of integers")) {
    value.clear();
    for (const ConfigNode& item : n->list) {
      int64_t parsed = 0;
      const auto [end, failure] = std::from_chars(item.scalar.data(), item.scalar.data() + item.scalar.size(), parsed);
      if (item.kind != ConfigNode::Kind::scalar || failure != std::errc() || end != item.scalar.data() + item.scalar.size())
        refuse(key, cat("'", item.scalar, "' is not an integer"), "write a list such as [64, 128]");
      value.push_back(parsed);
    }
  }
  record(key, std::move(standard), text_of(value), resume);
}

void Section::read(const std::string& key, std::vector<std::string>& value, Resume resume) {
  std::string standard = text_of(value);
  if (const ConfigNode* n = take(key, ConfigNode::Kind::list, "a list of texts")) {
    value.clear();
    for (const ConfigNode& item : n->list) {
      if (item.kind != ConfigNode::Kind::scalar) refuse(key, "an item is not a text", "write a list such as [a, b]");
      value.push_back(item.scalar);
    }
  }
  record(key, std::move(standard), text_of(value), resume);
}

void Section::read_choice(const std::string& key, std::span<const std::string_view> names, size_t& index, Resume resume) {
  std::string text(names[index]);
  read(key, text, resume);
  const auto it = std::find(names.begin(), names.end(), text);
  if (it == names.end()) {
    const std::vector<std::string> candidates(names.begin(), names.end());
    const std::string near = nearest_name(text, candidates);
    std::string all;
    for (const std::string_view name : names) all += cat(all.empty() ? "" : ", ", name);
    refuse(key, cat("'", text, "' is not one of ", all), near.empty() ? "use one of them" : cat("did you mean ", near, "?"));
  }
  index = static_cast<size_t>(it - names.begin());
}

Section Section::section(const std::string& key) {
  return {take(key, ConfigNode::Kind::map, "a map of keys"), full(key), is_choice(key) ? full(key) : within_, read_};
}

std::vector<std::string> Section::names() {
  constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  std::vector<std::string> names;
  if (node_ != nullptr)
    for (const auto& entry : node_->map) {
      if (entry.first.empty() || entry.first.find_first_not_of(allowed) != std::string::npos)
        refuse(entry.first, "a name here is made of letters, digits, _ and -", "rename it");
      names.push_back(entry.first);
    }
  choices_.insert(choices_.end(), names.begin(), names.end());
  return names;
}

void Section::finish() const {
  if (node_ == nullptr) return;
  for (const auto& [key, value] : node_->map) {
    if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
    const std::string near = nearest_name(key, known_);
    std::string all;
    for (const std::string& name : known_) all += cat(all.empty() ? "" : ", ", name);
    throw config_error(cat(full(key), ": unknown key"), value.origin,
                       near.empty() ? cat("known keys here: ", all) : cat("did you mean ", full(near), "?"));
  }
}

std::string Section::resolved() const {
  std::ostringstream out;
  std::string open;  // the section that is being printed; sections are two deep at most
  for (const ConfigKey& line : *read_) {
    const size_t dot = line.path.rfind('.');
    const std::string section = dot == std::string::npos ? "" : line.path.substr(0, dot);
    const size_t depth = section.empty() ? 0 : static_cast<size_t>(std::count(section.begin(), section.end(), '.')) + 1;
    if (section != open) {
      size_t begin = 0;
      for (size_t level = 0; level < depth; ++level) {
        const size_t end = std::min(section.find('.', begin), section.size());
        if (open.compare(0, end, section, 0, end) != 0 || (open.size() > end && open[end] != '.') || open.size() < end)
          out << std::string(2 * level, ' ') << section.substr(begin, end - begin) << ":\n";
        begin = end + 1;
      }
      open = section;
    }
    out << std::string(2 * depth, ' ') << (dot == std::string::npos ? line.path : line.path.substr(dot + 1)) << ": " << line.value << '\n';
  }
  return out.str();
}

}  // namespace lodestone
