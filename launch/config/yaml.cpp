#include "launch/config/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <numeric>
#include <sstream>

#include "core/error.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

constexpr uintmax_t max_file_bytes = uintmax_t{1} << 20;

Error config_error(const std::string& what, const std::string& origin, const std::string& remedy) {
  Error error(ExitCode::usage, "config", what, remedy);
  error.at("file", origin);
  return error;
}

/// What is wrong with the document itself, whatever its keys mean.
Error document_error(const std::string& what, const std::string& origin, const std::string& remedy) {
  Error error(ExitCode::usage, "F43", what, remedy);
  error.at("file", origin);
  return error;
}

/// Refuses anchors and aliases as they come: what stands in one place would be read in another.
class NoAnchors final : public YAML::EventHandler {
 public:
  explicit NoAnchors(const std::string& file) : file_(file) {}
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { require_none(mark, anchor); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override { require_none(mark, anchor); }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor, const std::string&) override {
    require_none(mark, anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    require_none(mark, anchor);
  }
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    require_none(mark, anchor);
  }
  void OnMapEnd() override {}

 private:
  void require_none(const YAML::Mark& mark, YAML::anchor_t anchor) const {
    if (anchor != 0)
      throw document_error("anchors, aliases and merge keys (&, *, <<) are not supported", cat(file_, " line ", mark.line + 1),
                           "write the keys out, or use a second file");
  }
  const std::string& file_;
};

ConfigNode convert(const YAML::Node& node, const std::string& file, const fs::path& base, const std::string& path) {
  ConfigNode out;
  out.origin = cat(file, " line ", node.Mark().line + 1);
  out.base = base;
  if (node.IsMap()) {
    out.kind = ConfigNode::Kind::map;
    for (const auto& entry : node) {
      const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "";
      const std::string place = cat(file, " line ", entry.first.Mark().line + 1);
      const std::string name = path.empty() ? key : cat(path, ".", key);
      if (key.empty()) throw document_error(cat("a key under '", path, "' is not a name"), place, "use plain names as keys");
      if (key == "<<") throw document_error("merge keys (<<) are not supported", place, "write the keys out, or use a second file");
      if (out.find(key) != nullptr) throw document_error(cat(name, ": given twice"), place, "keep one of them");
      out.map.emplace_back(key, convert(entry.second, file, base, name));
      if (out.map.back().second.origin.empty()) out.map.back().second.origin = place;
    }
  } else if (node.IsSequence()) {
    out.kind = ConfigNode::Kind::list;
    for (const auto& item : node) out.list.push_back(convert(item, file, base, path));
  } else {
    out.kind = ConfigNode::Kind::scalar;
    out.scalar = node.IsNull() ? "" : node.Scalar();
  }
  return out;
}

ConfigNode parse(const std::string& text, const std::string& file, const fs::path& base) {
  try {
    std::istringstream events(text);
    YAML::Parser parser(events);
    NoAnchors handler(file);
    while (parser.HandleNextDocument(handler)) {
    }
    const std::vector<YAML::Node> documents = YAML::LoadAll(text);
    if (documents.size() > 1) throw document_error("holds several documents", file, "keep one, or pass several files");
    if (documents.empty() || documents[0].IsNull()) return ConfigNode{.origin = file, .base = base};
    if (!documents[0].IsMap()) throw document_error("is not a map of keys", file, "start with `key: value` lines");
    return convert(documents[0], file, base, "");
  } catch (const YAML::Exception& e) {
    throw document_error(cat("not valid YAML: ", e.msg), cat(file, " line ", e.mark.line + 1), "correct the line");
  }
}

void merge(ConfigNode& into, const ConfigNode& from) {
  if (into.kind != ConfigNode::Kind::map || from.kind != ConfigNode::Kind::map) {
    into = from;
    return;
  }
  for (const auto& entry : from.map) {
    const auto it = std::find_if(into.map.begin(), into.map.end(), [&](const auto& e) { return e.first == entry.first; });
    if (it == into.map.end())
      into.map.push_back(entry);
    else
      merge(it->second, entry.second);
  }
}

ConfigNode parse_override(const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0)
    throw config_error(cat("'", text, "' is not of the form key.path=value"), "command line", "for example optim.learning_rate=1e-5");
  // Lists, maps and quoted texts are YAML; anything else is taken as it stands, so that "a: b" needs no quotes of its own.
  const std::string value = text.substr(equals + 1);
  ConfigNode node{.kind = ConfigNode::Kind::scalar, .scalar = value, .base = fs::current_path()};
  if (!value.empty() && std::string("[{\"'").find(value[0]) != std::string::npos)
    node = parse(cat("v: ", value), "command line", fs::current_path()).map.at(0).second;
  node.origin = "command line";
  std::string path = text.substr(0, equals);
  while (true) {
    const size_t dot = path.rfind('.');
    ConfigNode parent{.origin = "command line", .base = fs::current_path()};
    parent.map.emplace_back(dot == std::string::npos ? path : path.substr(dot + 1), std::move(node));
    node = std::move(parent);
    if (dot == std::string::npos) return node;
    path.resize(dot);
  }
}

std::string yaml_text(const std::string& text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '/' || c == '.' || c == '-';
  });
  if (plain) return text;
  YAML::Emitter out;
  out << YAML::DoubleQuoted << text;
  return out.c_str();
}

std::string shortest(double value) {
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  return std::string(buffer, end);
}

}  // namespace

const ConfigNode* ConfigNode::find(const std::string& key) const {
  const auto it = std::find_if(map.begin(), map.end(), [&](const auto& e) { return e.first == key; });
  return it == map.end() ? nullptr : &it->second;
}

ConfigNode load_config(std::span<const fs::path> files, std::span<const std::string> overrides) {
  ConfigNode root;
  for (const fs::path& file : files) {
    std::error_code failure;
    const uintmax_t size = fs::file_size(file, failure);
    if (failure) throw config_error(cat("cannot be read: ", failure.message()), file.string(), "check the path");
    if (size > max_file_bytes)
      throw document_error(cat("has ", size, " bytes; a configuration has at most 1 MiB"), file.string(),
                           "pass the configuration file, not the data");
    std::ifstream in(file, std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(in)), {});
    merge(root, parse(text, file.string(), fs::absolute(file).parent_path()));
  }
  for (const std::string& text : overrides) merge(root, parse_override(text));
  return root;
}

struct Section::State {
  struct Line {
    std::string path, value, origin;
  };
  std::vector<Line> lines;
};

Section::Section(const ConfigNode& node) : node_(&node), state_(std::make_shared<State>()) {}
Section::Section(const ConfigNode* node, std::string path, std::shared_ptr<State> state)
    : node_(node), path_(std::move(path)), state_(std::move(state)) {}

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

void Section::record(const std::string& key, std::string value) {
  const ConfigNode* found = locate(key);
  state_->lines.push_back({full(key), std::move(value), found == nullptr ? "" : found->origin});
}

std::map<std::string, std::string> Section::origins() const {
  std::map<std::string, std::string> all;
  for (const State::Line& line : state_->lines)
    if (!line.origin.empty()) all[line.path] = line.origin;
  return all;
}

bool Section::may_have(const std::string& key) {
  known_.push_back(key);
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

void Section::read(const std::string& key, bool& value) {
  if (const ConfigNode* n = take(key, ConfigNode::Kind::scalar, "true or false")) {
    if (n->scalar != "true" && n->scalar != "false") refuse(key, cat("'", n->scalar, "' is not a truth value"), "use true or false");
    value = n->scalar == "true";
  }
  record(key, value ? "true" : "false");
}

void Section::read(const std::string& key, int64_t& value) {
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
  record(key, std::to_string(value));
}

void Section::read(const std::string& key, double& value) {
  if (const ConfigNode* n = take(key, ConfigNode::Kind::scalar, "a number")) {
    const std::string& s = n->scalar;
    double parsed = 0;
    const auto [end, failure] = std::from_chars(s.data(), s.data() + s.size(), parsed);
    if (failure != std::errc() || end != s.data() + s.size() || !std::isfinite(parsed))
      refuse(key, cat("'", s, "' is not a finite number"), "write a number, for example 1e-5");
    value = parsed;
  }
  record(key, shortest(value));
}

void Section::read(const std::string& key, std::string& value) {
  if (const ConfigNode* n = take(key, ConfigNode::Kind::scalar, "text")) value = n->scalar;
  record(key, yaml_text(value));
}

void Section::read(const std::string& key, fs::path& value) {
  if (const ConfigNode* n = take(key, ConfigNode::Kind::scalar, "a path")) {
    value = n->scalar;
    if (!value.empty() && value.is_relative()) value = (n->base / value).lexically_normal();
  }
  record(key, yaml_text(value.string()));
}

void Section::read(const std::string& key, std::vector<int64_t>& value) {
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
  std::string text = "[";
  for (size_t i = 0; i < value.size(); ++i) text += cat(i ? ", " : "", value[i]);
  record(key, text + "]");
}

void Section::read(const std::string& key, std::vector<std::string>& value) {
  if (const ConfigNode* n = take(key, ConfigNode::Kind::list, "a list of texts")) {
    value.clear();
    for (const ConfigNode& item : n->list) {
      if (item.kind != ConfigNode::Kind::scalar) refuse(key, "an item is not a text", "write a list such as [a, b]");
      value.push_back(item.scalar);
    }
  }
  std::string text = "[";
  for (size_t i = 0; i < value.size(); ++i) text += cat(i ? ", " : "", yaml_text(value[i]));
  record(key, text + "]");
}

void Section::read_choice(const std::string& key, std::span<const std::string_view> names, size_t& index) {
  std::string text(names[index]);
  read(key, text);
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

Section Section::section(const std::string& key) { return {take(key, ConfigNode::Kind::map, "a map of keys"), full(key), state_}; }

std::vector<std::string> Section::keys() const {
  std::vector<std::string> names;
  if (node_ != nullptr)
    for (const auto& entry : node_->map) names.push_back(entry.first);
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
  for (const State::Line& line : state_->lines) {
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

std::string nearest_name(const std::string& word, std::span<const std::string> candidates) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& name : candidates) {
    std::vector<size_t> row(name.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 0; i < word.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i + 1;
      for (size_t j = 0; j < name.size(); ++j) {
        const size_t substituted = diagonal + (word[i] == name[j] ? 0 : 1);
        diagonal = row[j + 1];
        row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, substituted});
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = name;
    }
  }
  return best;
}

}  // namespace lodestone
