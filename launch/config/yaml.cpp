#include "launch/config/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <fstream>
#include <numeric>
#include <sstream>

#include "core/error.h"

namespace lodestone {

namespace fs = std::filesystem;

namespace {

constexpr uintmax_t max_file_bytes = uintmax_t{1} << 20;

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

}  // namespace

Error config_error(const std::string& what, const std::string& origin, const std::string& remedy) {
  return Error(ExitCode::usage, "config", what, remedy).at("file", origin);
}

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

std::string yaml_text(const std::string& text) {
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '/' || c == '.' || c == '-';
  });
  if (plain) return text;
  YAML::Emitter out;
  out << YAML::DoubleQuoted << text;
  return out.c_str();
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
