#include "launch/config/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <sstream>

#include "core/error.h"
#include "data/files/durable.h"
#include "data/files/utf8.h"

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

/// Refuses, as they come: anchors and aliases (what stands in one place would be read in another), tags (they name types of other
/// languages), texts with a NUL (no path and no name has one) and a second document. That one is refused where it begins: a comma or
/// a bracket there is consumed by nothing, and the parser would find one more empty document for ever.
class PlainDocument final : public YAML::EventHandler {
 public:
  PlainDocument(const std::string& text, const std::string& file) : text_(text), file_(file) {}
  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents_ == 1) return;
    const auto at = static_cast<size_t>(mark.pos);
    if (at < text_.size() && std::string_view(",]}").find(text_[at]) != std::string_view::npos)
      throw document_error(cat("a '", text_[at], "' stands where the document has ended"), place(mark), "remove it");
    throw document_error("holds several documents", file_, "keep one, or pass several files");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { require_plain(mark, "", anchor); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override { require_plain(mark, "", anchor); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& value) override {
    require_plain(mark, tag, anchor);
    if (value.find('\0') != std::string::npos) throw document_error("a text holds the character NUL", place(mark), "remove it");
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    require_plain(mark, tag, anchor);
  }
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    require_plain(mark, tag, anchor);
  }
  void OnMapEnd() override {}

 private:
  std::string place(const YAML::Mark& mark) const { return cat(file_, " line ", mark.line + 1); }
  void require_plain(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) const {
    if (anchor != 0)
      throw document_error("anchors, aliases and merge keys (&, *, <<) are not supported", place(mark),
                           "write the keys out, or use a second file");
    if (!tag.empty() && tag != "?" && tag != "!")  // these two say: a plain, a quoted scalar without a tag
      throw document_error(cat("tags are not supported: ", tag), place(mark), "remove it");
  }
  const std::string& text_;
  const std::string& file_;
  int64_t documents_ = 0;
};

/// Bytes that no configuration has, found before a parser reads them in its own way.
void require_text(const std::string& text, const std::string& file) {
  const std::optional<size_t> invalid = validate_utf8(text);
  const size_t nul = text.find('\0');
  if (!invalid && nul == std::string::npos) return;
  const size_t offset = std::min(invalid.value_or(text.size()), nul);
  const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(offset), '\n');
  throw document_error(offset == nul ? "holds a NUL byte" : "is not valid UTF-8", cat(file, " line ", line), "save it as UTF-8 text")
      .at("offset", offset);
}

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
  require_text(text, file);
  try {
    std::istringstream events(text);
    YAML::Parser parser(events);
    PlainDocument handler(text, file);
    while (parser.HandleNextDocument(handler)) {  // ends: the second is refused
    }
    const YAML::Node document = YAML::Load(text);
    if (!document.IsDefined() || document.IsNull()) return ConfigNode{.origin = file, .base = base};
    if (!document.IsMap()) throw document_error("is not a map of keys", file, "start with `key: value` lines");
    return convert(document, file, base, "");
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
  if (validate_utf8(text)) throw config_error("an override is not valid UTF-8", "command line", "write it in UTF-8");
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
    const std::string text = read_text_file(file, max_file_bytes, ExitCode::usage);
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
